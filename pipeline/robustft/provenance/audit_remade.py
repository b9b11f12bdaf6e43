"""Checks that make outputs again where that takes seconds: data that a package ships, verdicts as text, figures.

Tables are made again in `audit_numbers`, which names their cells. A figure's PDF is the same drawing as its SVG and
takes as long again, so the SVG stands for both.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from robustft.files import sha256_file
from robustft.plan.step import Step
from robustft.provenance.audit_state import AuditState
from robustft.provenance.environment import environment
from robustft.provenance.run import work_of
from robustft.runtime.context import Context

DRAWN_WITH = ("matplotlib", "numpy", "pandas", "seaborn")
"""Packages whose version decides the bytes of a figure."""


def check_data(state: AuditState) -> None:
    """Decode again what a package ships. It comes before all that is compared with data."""
    _check(state, [step for step in state.plan.of_kind("data") if "package_file" in step.spec["source"]])


def check_texts_and_figures(state: AuditState) -> None:
    """Make verdicts and figures again."""
    _check(state, [*state.plan.of_kind("verdicts"), *state.plan.of_kind("figure")])


def _check(state: AuditState, steps: list[Step]) -> None:
    for step in steps:
        if step.key in state.records:
            state.guarded(remake, state, step, subject=next(iter(step.outputs.values())))


def remake(state: AuditState, step: Step) -> None:
    """Run a step into a folder of its own, and add a finding for each output with other bytes."""
    if not state.intact(step.inputs.values()):
        return
    if step.kind == "figure" and (other := _drawn_elsewhere(state.records[step.key].values)):
        note = f"figures drawn {other} were not drawn again"
        state.report.notes += [note] if note not in state.report.notes else []
        return
    with tempfile.TemporaryDirectory(prefix="robustft-audit-") as folder:
        outputs = {role: path for role, path in step.outputs.items() if role != "pdf"}
        made = {role: Path(folder) / Path(path).name for role, path in outputs.items()}
        inputs = {role: Path(path) for role, path in step.inputs.items()}
        context = Context(inputs, made, Path(folder), step.settings, log=lambda _: None)
        work_of(step)(step.spec, context)
        for role, path in outputs.items():
            state.report.counts["files made again"] += 1
            if path not in state.broken and state.hash(path) != sha256_file(made[role]):
                state.add("wrong-file", path, _difference(Path(path), made[role]))


def _drawn_elsewhere(record: dict[str, Any]) -> str | None:
    """Return how other than here a figure was drawn: other versions round and write other bytes."""
    recorded, here = record["environment"]["packages"], environment()["packages"]
    other = [f"{name} {recorded.get(name)}" for name in DRAWN_WITH if recorded.get(name) != here.get(name)]
    return f"with {', '.join(other)}" if other else None


def _difference(path: Path, made: Path) -> str:
    """Return the first line that differs, or that other bytes were made."""
    text = "making it again gives other bytes"
    if path.suffix not in (".md", ".html"):
        return text
    ours, theirs = (file.read_text(encoding="utf-8", errors="replace").splitlines() for file in (made, path))
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=False) if one != other]
    return f"it has '{pairs[0][1]}', making it again gives '{pairs[0][0]}'" if pairs else text
