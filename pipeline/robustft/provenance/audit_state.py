"""What an audit knows so far: its report, the records that it read, and the files that it hashed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from robustft.files import sha256_files
from robustft.plan import Plan
from robustft.provenance.record import Record


@dataclass(frozen=True)
class Finding:
    """One broken link: its kind, the file or cell, and what was expected and observed there."""

    code: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"[{self.code}] {self.subject}: {self.text}"


@dataclass
class AuditReport:
    """The number of checks of each kind, the broken links, and notes that break nothing."""

    scale: str
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    root: str | None = None
    """The hash over all records; None if there is no valid manifest."""
    content_root: str | None = None
    """The hash over the numbers alone, which two equal runs share; None if there is no valid manifest."""

    @property
    def ok(self) -> bool:
        """Whether no link is broken."""
        return not self.findings

    def text(self) -> str:
        """Return the report for a terminal."""
        checked = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        lines = [f"audit of scale {self.scale}", f"checked: {checked}"]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"broken: {finding}" for finding in self.findings]
        if self.root:
            lines.append(f"root: {self.root}")
        if self.content_root:
            lines.append(f"content root: {self.content_root}")
        verdict = "every number leads back to data and source" if self.ok else f"{len(self.findings)} broken links"
        return "\n".join([*lines, f"{'PASS' if self.ok else 'FAIL'}: {verdict}"])


class AuditState:
    """What the checks of one audit share."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.report = plan, AuditReport(plan.scale)
        self.records: dict[str, Record] = {}
        """The valid records, by the key of their step."""
        self.hashes: dict[str, str | None] = {}
        self.broken: set[str] = set()
        """Files that a finding already names: a file that depends on them is not reported again."""

    def add(self, code: str, subject: str, text: str) -> None:
        """Report a broken link."""
        self.broken.add(subject)
        self.report.findings.append(Finding(code, subject, text))

    def hash(self, path: str) -> str | None:
        """Return a file's SHA-256, None if it is missing; each file is hashed once."""
        if path not in self.hashes:
            self.hash_all([path])
        return self.hashes[path]

    def hash_all(self, paths: Iterable[str]) -> None:
        """Hash files, as many at a time as there are cores."""
        new = sha256_files(path for path in paths if path not in self.hashes)
        self.hashes |= new
        self.report.counts["files hashed"] += len(new)

    @cached_property
    def owners(self) -> dict[str, str]:
        """The output that each recorded hash belongs to; complete once all records are read."""
        return {
            entry["sha256"]: entry["path"]
            for record in self.records.values()
            for entry in record.values["outputs"].values()
        }

    def intact(self, paths: Iterable[str]) -> bool:
        """Tell whether files are as their records say, so that numbers can be computed from them."""
        producers = {path: self.plan.producer(path) for path in paths}
        return all(
            self.hash(path) and path not in self.broken and (producer is None or producer.key in self.records)
            for path, producer in producers.items()
        )


def differences(recorded: Any, now: Any, path: str = "") -> list[str]:
    """Return where two JSON values differ, each as `path: recorded X, now Y`."""
    if not isinstance(recorded, dict) or not isinstance(now, dict):
        return [] if recorded == now else [f"{path}: recorded {recorded!r}, now {now!r}"]
    texts = []
    for key in sorted({*recorded, *now}, key=str):
        inner = f"{path}.{key}".lstrip(".")
        if key not in recorded or key not in now:
            texts.append(f"{inner}: {'is new' if key in now else 'is gone'}")
        else:
            texts += differences(recorded[key], now[key], inner)
    return texts


def several(keys: list[str]) -> str:
    """Return the first of some steps and the number of the others."""
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more steps"
