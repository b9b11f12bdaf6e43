"""No export without an audit: what the audit of a scale said, for every export to carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from robustft.errors import RobustftError
from robustft.plan import Plan
from robustft.provenance.audit import audit
from robustft.provenance.audit_state import AuditReport

EXPORTS = "exports"
"""Where exports go unless told otherwise. Not `results`: nothing here is an output of the DAG."""


@dataclass(frozen=True)
class Standing:
    """How a scale stands at the time of an export."""

    report: AuditReport
    reproduces: bool

    @property
    def root(self) -> str:
        """The hash over all records, or what stands for it where there is none."""
        return self.report.root or "none: no manifest"

    @property
    def verdict(self) -> str:
        """Say in one line what the audit found."""
        if self.report.ok:
            return "audit passed: every number leads back to data and source"
        return f"AUDIT FAILED: {len(self.report.findings)} broken links; exported unaudited on request"

    @property
    def meaning(self) -> str:
        """Say in one sentence what the scale's numbers may be taken for."""
        if self.reproduces:
            return f"Scale {self.report.scale} runs the papers' own data and networks."
        standing = "its numbers are not a reproduction of a published one"
        return f"Scale {self.report.scale} measures small stand-ins; {standing}."


def audited(plan: Plan, *, unaudited: bool, log: Callable[[str], None]) -> Standing:
    """Audit a scale and return how it stands. Raises RobustftError if a link is broken, unless `unaudited`."""
    log(f"auditing scale {plan.scale}: {len(plan.steps)} steps")
    report = audit(plan)
    standing = Standing(report, bool(plan.config.scale["reproduces"]))
    if not report.ok and not unaudited:
        unfinished = report.findings[0].code == "missing-record"
        mend = "robustft audit names all; mend them, or export all the same with --unaudited, which it will say"
        raise RobustftError(
            f"the audit of scale {plan.scale} failed, so nothing is exported",
            where=f"{len(report.findings)} broken links, the first: {report.findings[0]}",
            next_step="run snakemake to the end" if unfinished else mend,
        )
    log(f"{standing.verdict}; root {standing.root}")
    return standing


def default_target(plan: Plan, name: str) -> Path:
    """Return where an export of a scale goes unless told otherwise."""
    return Path(EXPORTS) / plan.scale / name
