"""Checks of the manifests: each lists the records of the plan, all of them, and its roots are those of the files."""

from __future__ import annotations

from typing import Any

from robustft.errors import RobustftError
from robustft.files import digest_of, read_json
from robustft.plan.step import Step
from robustft.provenance.audit_state import AuditState
from robustft.provenance.roots import root_over
from robustft.report.content import content_root

KEYS = {"scale", "paper", "records", "root", "content_root"}


def check_manifests(state: AuditState) -> None:
    """Compare each paper's manifest with the plan, the records and the numbers, and take the roots into the report.

    The report gets a root only if every manifest is right: a root stands for all that its papers rest on.
    """
    found = len(state.report.findings)
    manifests: dict[str, str] = {}
    for step in state.plan.of_kind("manifest"):
        if state.intact(step.outputs.values()):
            _check(state, step)
            manifests[step.id] = state.records[step.key].sha256
    if len(manifests) == len(state.plan.of_kind("manifest")) and len(state.report.findings) == found:
        state.report.root = root_over(manifests)
        numbers = {step.id: step.outputs["numbers"] for step in state.plan.of_kind("numbers")}
        if state.intact(numbers.values()):
            state.report.content_root = content_root({paper: read_json(path) for paper, path in numbers.items()})


def _check(state: AuditState, step: Step) -> None:
    path = step.outputs["manifest"]
    try:
        manifest = read_json(path)
    except RobustftError as error:
        state.add("changed-file", path, " ".join(str(error).split()))
        return
    if not _is_manifest(manifest) or (manifest["scale"], manifest["paper"]) != (state.plan.scale, step.id):
        state.add("wrong-number", path, f"it is not the manifest of {step.id} at scale {state.plan.scale}")
        return
    records: dict[str, str] = manifest["records"]
    planned = set(step.spec["records"])
    for record in sorted(planned - set(records)):
        state.add("incomplete-manifest", path, f"it does not list {record}, which {step.id} rests on")
    for record in sorted(set(records) - planned):
        state.add("incomplete-manifest", path, f"it lists {record}, which is no record of {step.id}")
    for record in sorted(planned & set(records)):
        if record not in state.broken and state.hash(record) != records[record]:
            text = f"{path} has {records[record][:16]}..., found {str(state.hash(record))[:16]}..."
            state.add("changed-record", record, text)
    if digest_of(records) != manifest["root"]:
        state.add("wrong-number", path, "the root is not the hash of the records")
    numbers = state.plan.step("numbers", step.id).outputs["numbers"]
    if state.intact([numbers]) and content_root({step.id: read_json(numbers)}) != manifest["content_root"]:
        state.add("wrong-number", path, "the content root is not the hash of the numbers")


def _is_manifest(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == KEYS
        and isinstance(value["records"], dict)
        and all(isinstance(sha256, str) for sha256 in value["records"].values())
    )
