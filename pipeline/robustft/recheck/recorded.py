"""The results that are checked: only read, wherever they lie, and bound to their root."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from robustft.errors import IntegrityError, RobustftError
from robustft.files import digest_of, read_json, sha256_file
from robustft.plan import RESULTS, Plan
from robustft.plan.step import Step
from robustft.provenance.record import Record, read_record
from robustft.provenance.roots import manifest_records, root_over
from robustft.report.claim_matching import matching_members, operands


def results_folder(folder: Path, scale: str) -> Path:
    """Return the folder that plays the part of `results/`: the given one, one above it, or one in it.

    Raises RobustftError if none of them has results of the scale.
    """
    for candidate in (folder, folder / RESULTS, folder.parent):
        if (candidate / scale).is_dir() and any((candidate / scale).glob("*/manifest.record.json")):
            return candidate
    raise RobustftError(
        f"the folder holds no finished results of scale {scale}",
        where=folder,
        expected=f"results, results/{scale}, or the checkout around them, with PAPER/manifest.record.json",
        next_step="name the folder with --results and the scale with --scale",
    )


class Recorded:
    """The results of one plan in somebody's folder."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder.resolve()
        self.manifests = manifest_records(plan, self.folder)
        self.root = root_over(self.manifests)
        self._records: dict[str, Record] = {}

    def at(self, path: str) -> Path:
        """Return where a file of the plan lies in these results."""
        return self.folder / path.removeprefix(f"{RESULTS}/")

    @cached_property
    def _listed(self) -> dict[str, str]:
        """The hash of each record that a manifest lists, after comparing the manifest with its own record."""
        listed: dict[str, str] = {}
        for step in self.plan.of_kind("manifest"):
            path = self._verified(step, read_record(self.at(step.record)), "manifest")
            content = read_json(path)
            records = content.get("records") if isinstance(content, dict) else None
            if not isinstance(records, dict) or set(records) != set(step.spec["records"]):
                raise IntegrityError(
                    "a manifest does not list the records of the plan", where=path, next_step="run robustft audit"
                )
            listed |= records
        return listed

    def record(self, step: Step) -> Record:
        """Return a step's record. Raises IntegrityError unless it is the one under the root.

        A record of another configuration is a RobustftError: that is the checkout's fault, not that of the results.
        """
        if step.key not in self._records:
            record = read_record(self.at(step.record))
            if self._listed.get(step.record) != record.sha256:
                raise IntegrityError(
                    "a record is not the one in the manifest", where=record.path, next_step="run robustft audit"
                )
            if record.values["step"]["spec_sha256"] != digest_of(step.spec):
                raise RobustftError(
                    "a step was run with another configuration than this checkout's",
                    where=record.path,
                    observed=f"commit {record.values['environment']['git'].get('commit')}",
                    next_step="check out the commit of the results, and recheck there",
                )
            self._records[step.key] = record
        return self._records[step.key]

    def output(self, step: Step, role: str) -> Path:
        """Return where an output lies. Raises IntegrityError unless its bytes are those under the root."""
        return self._verified(step, self.record(step), role)

    def _verified(self, step: Step, record: Record, role: str) -> Path:
        path, entry = self.at(step.outputs[role]), record.output(step.outputs[role])
        if not path.is_file() or entry is None or sha256_file(path) != entry["sha256"]:
            raise IntegrityError(
                "a file is not what its record says",
                where=path,
                expected=entry["sha256"] if entry else "an entry in its record",
                observed=sha256_file(path) if path.is_file() else "no such file",
                next_step="run robustft audit, which names all of them",
            )
        return path

    @cached_property
    def claimed(self) -> set[str]:
        """The attack and training steps, by key, that a paper's own claim rests on."""
        ledgers = [
            self.plan.step("attack", member["ledger"])
            for verdicts in self.plan.of_kind("verdicts")
            for claim in verdicts.spec["claims"]
            for operand in operands(claim)
            for member in matching_members(claim, verdicts.spec["members"], operand)
        ]
        return {step.key for step in self.plan.needed(ledgers) if step.kind in ("attack", "train")}
