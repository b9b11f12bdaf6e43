"""What an audit knows so far: its report, the records that it read, and the files that it hashed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from robustft import escape
from robustft.files import sha256_files
from robustft.plan import Plan
from robustft.provenance.record import Record

PASSED = "every number follows from the recorded ledgers, and every file is as recorded"
"""What an audit without a finding says: no more than it has checked (docs/trust.md)."""


@dataclass(frozen=True)
class Finding:
    """One broken link: its kind, the file or cell, and what was expected and observed there."""

    code: str
    subject: str
    text: str

    def __str__(self) -> str:
        return escape.terminal(f"[{self.code}] {self.subject}: {self.text}")


LISTED = 12
"""How many findings of one kind are printed unless all are asked for."""


@dataclass
class AuditReport:
    """The number of checks of each kind, the broken links, and notes that break nothing."""

    scale: str
    auditor: str = ""
    """Who says so: the version, commit and source digest of the package that audits."""
    nothing_run: str | None = None
    """Where nothing was found, if no step of the plan has been run."""
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

    def text(self, *, everything: bool = False) -> str:
        """Return the report for a terminal: one line for each finding, of each kind a few unless all are asked for."""
        if self.nothing_run:
            return escape.terminal(self.nothing_run)
        checked = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        lines = [f"audit of scale {self.scale}", f"checked: {checked}"]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"broken: {finding}" for finding in self._listed(everything=everything)]
        lines += [f"root: {self.root}"] if self.root else []
        lines += [f"content root: {self.content_root}"] if self.content_root else []
        lines += [f"auditor: {self.auditor}"] if self.auditor else []
        lines.append(f"PASS: {PASSED}" if self.ok else f"FAIL: {len(self.findings)} broken links")
        return "\n".join(map(escape.terminal, lines))

    def _listed(self, *, everything: bool) -> list[str]:
        """Return the findings in groups of one kind, the kinds in the order in which they were found."""
        groups: dict[str, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            groups[finding.code].append(finding)
        texts = []
        for code, group in groups.items():
            shown = group if everything else group[:LISTED]
            texts += [str(finding) for finding in shown]
            if more := len(group) - len(shown):
                texts.append(f"[{code}] and {more} more; --all lists them")
        return texts


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

    def guarded(self, check: Callable[..., None], *arguments: Any, subject: str | None = None, **options: Any) -> None:
        """Run a check. Whatever it fails with is a finding: a file that stops a check must not stop the audit."""
        try:
            check(*arguments, **options)
        except Exception as error:  # noqa: BLE001 (a hostile file may raise anything, wherever it is read)
            what = " ".join(str(error).split()) or "no reason given"
            name = check.__name__.replace("_", " ")
            self.add("failed-check", subject or name, f"{name} ended with {type(error).__name__}: {what}"[:2000])

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
        return [] if recorded == now else [f"{path}: recorded {_short(recorded)}, now {_short(now)}"]
    texts = []
    for key in sorted({*recorded, *now}, key=str):
        inner = f"{path}.{key}".lstrip(".")
        if key not in recorded or key not in now:
            texts.append(f"{inner}: {'is new' if key in now else 'is gone'}")
        else:
            texts += differences(recorded[key], now[key], inner)
    return texts


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} letters)"


def several(keys: list[str]) -> str:
    """Return the first of some steps and the number of the others."""
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more steps"
