"""Steps that were run by hand: Snakemake makes them again if they were of another configuration or source than its own.

Snakemake compares the parameters of a job with those that it ran last. It does not see that `robustft train ID`, on
another branch say, has written the files since; back on the first branch it would have nothing to do, and the audit
would fail for good. So a run by hand leaves a note. While the note is of something else than what is planned, it is
among the parameters of the job.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from robustft.files import digest_of, read_json, sha256_file, write_json
from robustft.plan.step import Bundle, Step
from robustft.provenance.lock import SCRATCH

if TYPE_CHECKING:
    from robustft.plan import Plan

NOTES = Path(SCRATCH) / "by_hand"


def note(steps: Iterable[Step]) -> None:
    """Note that steps were run by hand: their configuration and source, and the record, which is of this run alone."""
    for step in steps:
        about = {"kind": step.kind, "id": step.id, "digest": step.digest, "code": step.code}
        write_json(_note_of(step), {**about, "record": sha256_file(step.record)})


def _note_of(step: Step) -> Path:
    return NOTES / f"{digest_of(step.record)[:16]}.json"


def foreign(plan: Plan) -> dict[str, str]:
    """Return the records of runs by hand that were of something else than the plan, by the key of their step."""
    records = {}
    for path in sorted(NOTES.glob("*.json")):
        about = read_json(path)
        step = plan.get(about["kind"], about["id"])
        if step and path == _note_of(step) and (step.digest, step.code) != (about["digest"], about["code"]):
            records[step.key] = str(about["record"])
    return records


def code_of(work: Step | Bundle, records: dict[str, str]) -> str:
    """Return the code of a step or bundle as a parameter of its job: other after each foreign run by hand."""
    steps: tuple[Step, ...] = work.steps if isinstance(work, Bundle) else (work,)
    return " ".join([work.code, *(records[step.key] for step in steps if step.key in records)])
