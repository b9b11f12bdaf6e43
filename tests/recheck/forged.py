"""A forger's tool: after an edit, every hash, record, number and manifest is made to fit again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from robustft.files import digest_of, read_json, sha256_file, write_json
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.record import file_entry
from robustft.provenance.run import work_of
from robustft.runtime.context import Context

REPORT = ("numbers", "verdicts", "table", "manifest")
"""What a forger counts again, with the project's own functions."""


def reforge(plan: Plan, *, edit: Callable[[Step, dict[str, Any]], None] = lambda step, record: None) -> None:
    """Make the records of all steps fit the files again, in plan order."""
    for step in plan.steps.values():
        if step.kind in REPORT:
            files = ({role: Path(path) for role, path in paths.items()} for paths in (step.inputs, step.outputs))
            work_of(step)(step.spec, Context(*files, Path("scratch"), log=lambda line: None))
        record = read_json(step.record)
        record["outputs"] = {role: file_entry(path) for role, path in step.outputs.items()}
        record["inputs"] = {role: file_entry(path) for role, path in step.inputs.items()}
        record["circumstances"]["vouchers"] = {
            role: {"record": path, "sha256": sha256_file(path)} for role, path in step.upstream.items()
        }
        edit(step, record)
        record["source"]["sha256"] = digest_of(record["source"]["files"])
        write_json(step.record, record)


def all_correct(path: str, *, attack: str | None = None, images: int | None = None) -> None:
    """Let a ledger say that images are classified correctly: of one attack or all, the first some or all."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    wrong = [row for row in rows if not row["correct"] and attack in (None, row["attack"])]
    for row in wrong[:images]:
        row |= {"prediction": row["label"], "correct": True}
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
