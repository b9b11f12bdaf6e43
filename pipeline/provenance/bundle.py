"""Running the steps of a bundle one after another in one process, each with its own record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import RobustftError
from pipeline.files import digest_of
from pipeline.provenance.record import read_record
from pipeline.provenance.run import SCRATCH, run_step, scratch_folder, vouched_input, write_failure
from pipeline.sources import source_hashes
from pipeline.steps import Bundle, Step


def run_bundle(bundle: Bundle, *, expect: Sequence[str] | None = None, say: Callable[[str], None] = print) -> None:
    """Run each step of the bundle in turn.

    Snakemake deletes what a failed job has written, finished steps among it. So each finished step is also kept (as
    hard links) in the scratch folder until the whole bundle is done, and taken from there if it is run again.
    """
    digests = list(expect or [step.digest for step in bundle.steps])
    if len(digests) != len(bundle.steps):
        raise RobustftError(
            f"the bundle {bundle.name} changed after it was planned",
            expected=f"{len(digests)} steps",
            observed=f"{len(bundle.steps)} steps",
            next_step="start snakemake again, so that it plans with the configuration as it is now",
        )
    folder = Path(SCRATCH) / f"bundle-{digest_of([step.digest for step in bundle.steps])[:16]}"
    for number, (step, digest) in enumerate(zip(bundle.steps, digests, strict=True), start=1):
        kept = folder / scratch_folder(step).name
        say(f"step {number} of {len(bundle.steps)}")
        if step.digest == digest and _restored(step, kept):
            say(f"{step.key} was finished before this job was stopped; taken from {kept}")
            continue
        try:
            run_step(step, expect=digest, say=say)
        except Exception as error:
            write_failure(step, error)
            raise
        _keep(step, kept)
    shutil.rmtree(folder, ignore_errors=True)


def _files(step: Step) -> list[str]:
    return [*step.outputs.values(), step.record]


def _keep(step: Step, folder: Path) -> None:
    """Link a finished step's files into its folder; the record comes last, so its presence says the rest is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, path in enumerate(_files(step)):
        os.link(path, folder / str(number))


def _restored(step: Step, folder: Path) -> bool:
    """Put a kept step's files back if all are there and its inputs are still those that it read."""
    files = _files(step)
    if not (folder / str(len(files) - 1)).is_file():
        return False
    record = folder / str(len(files) - 1)
    if not _same_inputs(step, record):
        return False
    for number, path in enumerate(files):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        os.link(folder / str(number), target)
    return True


def _same_inputs(step: Step, record: Path) -> bool:
    values = read_record(record).values
    if values["source"]["files"] != source_hashes(step.sources()):
        return False
    now = {role: vouched_input(role, path, step.upstream[role]) for role, path in step.inputs.items()}
    return all(
        values["inputs"].get(role) == entry and values["circumstances"]["vouchers"].get(role) == voucher
        for role, (entry, voucher) in now.items()
    )
