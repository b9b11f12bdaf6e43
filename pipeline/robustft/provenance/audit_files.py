"""Checks of files: each record is valid, and each output, input and downloaded file is the recorded one."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from robustft.data.fetch.published import checked
from robustft.errors import RobustftError
from robustft.files import unreadable
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.audit_numbers import edited_cells
from robustft.provenance.audit_state import AuditState
from robustft.provenance.record import read_record
from robustft.provenance.record_schema import fault

SHARED = ("download", "data", "weights")
"""The steps whose files all scales share."""


def nothing_run(plan: Plan) -> str | None:
    """Return a sentence if there is no record of the plan at all; decoded data may be of another scale."""
    own = (step.record for step in plan.steps.values() if step.kind not in SHARED)
    if any(os.path.lexists(record) for record in own):
        return None
    return (
        f"nothing has been run yet: there is no record of scale {plan.scale} in {Path.cwd()};"
        f" `robustft run --scale {plan.scale}` makes them"
    )


def read_records(state: AuditState) -> None:
    """Read the record of every step. A record that is missing or invalid is a finding."""
    for step in state.plan.steps.values():
        state.report.counts["steps"] += 1
        state.guarded(_read_record, state, step, subject=step.record)


def _read_record(state: AuditState, step: Step) -> None:
    if not os.path.lexists(step.record):
        state.add("missing-record", step.record, f"{step.key} has not been run, or its record was removed")
        return
    try:
        record = read_record(step.record)
    except (RobustftError, OSError) as error:
        state.add("invalid-record", step.record, unreadable(step.record) or " ".join(str(error).split()))
        return
    state.hashes[step.record] = record.sha256
    if wrong := fault(record.values):
        state.add("invalid-record", step.record, wrong)
        return
    recorded = record.values["step"]
    if (recorded["kind"], recorded["id"]) == (step.kind, step.id):
        state.records[step.key] = record
    else:
        other = f"{recorded['kind']}:{recorded['id']}"
        state.add("invalid-record", step.record, f"it is the record of {other}, not of {step.key}")


def check_outputs(state: AuditState, step: Step) -> None:
    """Compare the outputs of a step with its record."""
    record = state.records[step.key]
    for path in step.outputs.values():
        entry = record.output(path)
        observed = state.hash(path)
        if entry is None:
            state.add("invalid-record", step.record, f"it does not name the output {path}")
        elif observed is None:
            state.add("missing-file", path, f"{unreadable(path)}; its record {step.record} says it was made")
        elif observed != entry["sha256"]:
            state.add("changed-file", path, _change(state, step, path, entry["sha256"], observed))


def _change(state: AuditState, step: Step, path: str, recorded: str, observed: str) -> str:
    """Describe the change of an output: another step's file, edited cells of a table, or the hashes alone."""
    text = f"recorded SHA-256 {recorded[:16]}..., found {observed[:16]}..."
    owner = state.owners.get(observed)
    if owner and owner != path:
        return f"{text}; it is the file recorded as {owner}"
    if step.kind == "table":
        return f"{text}; {edited_cells(state.plan, step, path)}"
    return text


def check_inputs(state: AuditState, step: Step) -> None:
    """Compare the inputs in a step's record with the records of the steps that wrote them."""
    values = state.records[step.key].values
    vouchers = values["circumstances"].get("vouchers", {})
    for role, path in step.inputs.items():
        entry = values["inputs"].get(role)
        if entry is None or entry["path"] != path:
            state.add("invalid-record", step.record, f"it does not name the input {path}")
            continue
        producer = state.plan.producer(path)
        if producer is None or producer.key not in state.records:
            continue
        output = state.records[producer.key].output(path)
        if output and output["sha256"] != entry["sha256"] and path not in state.broken:
            text = f"read {entry['sha256'][:16]}..., but {producer.record} says {output['sha256'][:16]}... was made"
            state.add("broken-link", f"{step.key} <- {path}", text)
        _check_voucher(state, step, role, producer, vouchers)


def _check_voucher(state: AuditState, step: Step, role: str, producer: Step, vouchers: dict[str, Any]) -> None:
    """Compare the hash of a producer's record with the hash that the reader's record quotes."""
    quoted = vouchers.get(role, {}).get("sha256")
    observed = state.records[producer.key].sha256
    if quoted != observed and producer.record not in state.broken:
        text = f"{step.record} quotes it as {str(quoted)[:16]}..., found {observed[:16]}..."
        state.add("changed-record", producer.record, text)


def check_package_files(state: AuditState) -> None:
    """Compare the files of installed packages that data and weights come from with their configured hashes."""
    for step in [*state.plan.of_kind("data"), *state.plan.of_kind("weights")]:
        source = step.spec["source" if step.kind == "data" else "weights"]
        if "package_file" not in source:  # it comes from another step's output, which has a record
            continue
        package, _, rest = source["package_file"].partition("/")
        module = importlib.util.find_spec(package)
        if module is None or module.origin is None:
            state.report.notes.append(f"the source file of {step.id} is not on this machine, so it was not hashed")
            continue
        observed = state.hash(str(Path(module.origin).parent / rest))
        if observed != source["sha256"]:
            text = f"expected {source['sha256']}, found {observed}"
            state.add("changed-source-data", source["package_file"], text)


def check_downloads(state: AuditState) -> None:
    """Compare each downloaded file with its published hash, independently of its record."""
    for step in state.plan.of_kind("download"):
        path = Path(step.outputs["file"])
        if path.exists() and (problem := checked(path, step.spec["file"], log=lambda _: None)[1]):
            state.add("changed-download", str(path), problem)
