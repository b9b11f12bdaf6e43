"""Checks of numbers: accuracies are counted from their ledgers again; tables and verdicts are made from them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.files import read_json
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.audit_state import AuditState, differences
from robustft.report import deviations, formats, numbers, tables, verdicts


def check_paper(state: AuditState, step: Step) -> None:
    """Compute a paper's numbers, tables and verdicts again; `step` is the paper's step of kind `numbers`."""
    if not state.intact(step.inputs.values()):
        return
    counts, computed = state.report.counts, _numbers(step)
    counts["ledgers counted"] += len(step.spec["members"])
    counts["measurements"] += len(computed["measurements"])
    _compare(state, step.outputs["numbers"], read_json, computed)
    _compare(state, step.outputs["metrics"], read_json, numbers.metrics(computed))
    for table in (table for table in state.plan.of_kind("table") if table.id.split("/")[0] == step.id):
        grid = tables.build_grid(table.spec, computed)
        counts["table cells"] += len(grid.rows) * len(grid.column_names)
        for kind, output in table.outputs.items():
            _compare(state, output, _read_text, formats.FORMATS[kind](grid))
    if listed := state.plan.get("deviations", step.id):
        for kind, output in listed.outputs.items():
            _compare(state, output, _read_text, deviations.page(listed.spec, kind))
    _check_verdicts(state, state.plan.step("verdicts", step.id))


def _check_verdicts(state: AuditState, step: Step) -> None:
    if not state.intact(step.inputs.values()):
        return
    content = verdicts.judged(step.spec, _paths(step))
    cells = sum(len(table.get("cells", [])) for table in content.get("tables", []))
    state.report.counts["verdicts"] += len(content["verdicts"]) + cells
    _compare(state, step.outputs["json"], read_json, content)


def _compare(state: AuditState, path: str, read: Callable[[str], Any], computed: Any) -> None:
    """Compare the content of a file with the computed one. A file that cannot be read is a finding too."""
    if state.hash(path) is None or path in state.broken:
        return
    try:
        content = read(path)
    except (RobustftError, UnicodeDecodeError) as error:
        state.add("changed-file", path, " ".join(str(error).split()))
        return
    if content != computed:
        detail = "; ".join(differences(content, computed)[:3])
        state.add("wrong-number", path, f"counting its ledgers again gives something else: {detail}")


def edited_cells(plan: Plan, step: Step, path: str) -> str:
    """Describe which cells of the table at `path` differ from the ledgers."""
    producer = plan.producer(step.inputs["numbers"])
    assert producer is not None, "the plan makes every input"
    try:
        grid = tables.build_grid(step.spec, _numbers(producer))
        edited = formats.edited_cells(grid, _read_text(path), Path(path).suffix[1:])
    except (RobustftError, OSError, ValueError, KeyError):
        return "its ledgers cannot be counted"
    if edited is None:
        return "rows or columns were added or removed"
    texts = [f"cell {step.id}:{name} reads '{observed}', its ledgers give '{due}'" for name, observed, due in edited]
    return "; ".join(texts) or "text around its cells was edited"


def _numbers(step: Step) -> dict[str, Any]:
    return numbers.compute(step.spec, _paths(step))


def _paths(step: Step) -> dict[str, Path]:
    return {role: Path(path) for role, path in step.inputs.items()}


def _read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
