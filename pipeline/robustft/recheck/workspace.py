"""A folder of the verifier's own, laid out as a checkout's results, in which steps are run again.

Data and published weights are made here from their published sources, or taken from an earlier folder of the
verifier's. Everything else that a step reads is a link to the results that are checked, after comparing its bytes with
their root. A step that an interrupted recheck has finished here is not run a second time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from robustft.errors import IntegrityError, RobustftError
from robustft.files import digest_of, sha256_file
from robustft.plan import RESULTS
from robustft.plan.step import Step
from robustft.provenance.record import Record, read_record
from robustft.provenance.run import run_step
from robustft.recheck.recorded import Recorded

SOURCES = ("download", "data", "weights")
"""The kinds of steps that a verifier makes from published files."""


@dataclass
class Workspace:
    """Where steps are run again; `own` is a results folder of the verifier's with data and weights, if there is one."""

    folder: Path
    recorded: Recorded
    own: Path | None
    log: Callable[[str], None]
    made: dict[str, Path] = field(default_factory=dict)
    """The results folder that a source lies in, by the key of its step."""

    def room(self, name: str) -> Workspace:
        """Return a folder beside this one's results that shares its sources."""
        return Workspace(self.folder / name, self.recorded, self.own, self.log, self.made)

    def run(self, step: Step, *, kept: Step | None = None) -> Record:
        """Run a step here and return its record. Its inputs are provided, all but what `kept` has made here before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = self._finished(step)
        if done is not None:
            return done
        for path in step.inputs.values():
            producer = self._producer(path)
            if kept is None or producer.key != kept.key:
                self._provide(producer)
        for path in (*step.outputs.values(), step.record):
            (self.folder / path).unlink(missing_ok=True)
        with contextlib.chdir(self.folder):
            run_step(step, log=self.log)
            return read_record(step.record)

    def _finished(self, step: Step) -> Record | None:
        """Return the record of a step that an earlier start has finished here, with its outputs as they were."""
        paths = [self.folder / path for path in step.outputs.values()]
        if any(path.is_symlink() or not path.is_file() for path in (*paths, self.folder / step.record)):
            return None
        with contextlib.suppress(RobustftError):
            record = read_record(self.folder / step.record)
            hashes = {entry["sha256"] for entry in record.values["outputs"].values()}
            same = record.values["step"]["spec_sha256"] == digest_of(step.spec)
            if same and {sha256_file(path) for path in paths} == hashes:
                return record
        return None

    def source(self, step: Step) -> Path:
        """Return the results folder that has a source of the verifier's, after making it."""
        if step.key not in self.made:
            if self.own is not None and self._at(self.own, step.record).is_file():
                self._own(step)
                self.made[step.key] = self.own
            else:
                self.run(step)
                self.made[step.key] = self.folder / RESULTS
        return self.made[step.key]

    def _own(self, step: Step) -> None:
        """Compare a source in the verifier's folder with its record and with this configuration."""
        assert self.own is not None
        record = read_record(self._at(self.own, step.record))
        for path in step.outputs.values():
            entry, file = record.output(path), self._at(self.own, path)
            right = record.values["step"]["spec_sha256"] == digest_of(step.spec) and entry and file.is_file()
            if not right or sha256_file(file) != entry["sha256"]:  # type: ignore[index]
                raise IntegrityError(
                    "your own decoded data are not what this configuration makes",
                    where=file,
                    next_step="make them again with snakemake, or recheck without --sources",
                )

    def _provide(self, step: Step) -> None:
        """Link the outputs and the record of a step into this folder."""
        if step.kind in SOURCES:
            folder = self.source(step)
            files = {path: self._at(folder, path) for path in (*step.outputs.values(), step.record)}
        else:
            files = {path: self.recorded.output(step, role) for role, path in step.outputs.items()}
            files[step.record] = self.recorded.at(step.record)
        for path, target in files.items():
            here = self.folder / path
            if here != target:
                here.parent.mkdir(parents=True, exist_ok=True)
                here.unlink(missing_ok=True)
                here.symlink_to(target.resolve())

    def _producer(self, path: str) -> Step:
        producer = self.recorded.plan.producer(path)
        assert producer is not None, "the plan makes every input"
        return producer

    @staticmethod
    def _at(folder: Path, path: str) -> Path:
        return folder / path.removeprefix(f"{RESULTS}/")
