"""Running the steps of a bundle in sequence in one process, each with its own record."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from robustft.errors import RobustftError
from robustft.files import sha256_file
from robustft.plan.sources import source_hashes
from robustft.plan.step import Bundle, Step
from robustft.provenance.inputs import vouched_input
from robustft.provenance.lock import SCRATCH, held
from robustft.provenance.record import Record, read_record
from robustft.provenance.run import run_step, scratch_folder


def run_bundle(bundle: Bundle, *, log: Callable[[str], None] = print) -> None:
    """Run each step of the bundle in turn.

    Snakemake deletes all outputs of a failed job, also those of finished steps. So the files of each finished step are
    also stored, as hard links, in the scratch folder until the whole bundle is done. A new run restores them.
    """
    with held(bundle.steps[0].record + " and its bundle", what=f"the bundle {bundle.name}"):
        _run_in_turn(bundle, log=log)


def _run_in_turn(bundle: Bundle, *, log: Callable[[str], None]) -> None:
    folder = Path(SCRATCH) / f"bundle-{bundle.digest[:16]}"
    for number, step in enumerate(bundle.steps, start=1):
        stored = folder / scratch_folder(step).name
        log(f"step {number} of {len(bundle.steps)}")
        if _restored(step, stored):
            log(f"{step.key} was finished before this job was stopped; taken from {stored}")
            continue
        run_step(step, log=log)
        _store(step, stored)
    shutil.rmtree(folder, ignore_errors=True)


def _files(step: Step) -> list[str]:
    return [*step.outputs.values(), step.record]


def _link(source: Path | str, target: Path) -> None:
    """Create a hard link to a file, or a copy if the two folders are on different disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _store(step: Step, folder: Path) -> None:
    """Link a finished step's files into its folder; the record comes last, so with it the folder is complete."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, path in enumerate(_files(step)):
        _link(path, folder / str(number))


def _restored(step: Step, folder: Path) -> bool:
    """Restore a step's stored files, if they have the recorded bytes and its inputs are unchanged."""
    files = _files(step)
    try:
        record = read_record(folder / str(len(files) - 1))
    except RobustftError:
        return False
    if not (_same_outputs(step, folder, record) and _same_inputs(step, record)):
        return False
    for number, path in enumerate(files):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        _link(folder / str(number), target)
    return True


def _same_outputs(step: Step, folder: Path, record: Record) -> bool:
    """Tell whether the stored files have the recorded bytes: a link shares its bytes with a file that may be edited."""
    files = [(record.output(path), folder / str(number)) for number, path in enumerate(step.outputs.values())]
    return all(entry is not None and file.is_file() and sha256_file(file) == entry["sha256"] for entry, file in files)


def _same_inputs(step: Step, record: Record) -> bool:
    values = record.values
    if values["source"]["files"] != source_hashes(step.sources()):
        return False
    now = {role: vouched_input(role, path, step.upstream[role]) for role, path in step.inputs.items()}
    return all(
        values["inputs"].get(role) == entry and values["circumstances"]["vouchers"].get(role) == voucher
        for role, (entry, voucher) in now.items()
    )
