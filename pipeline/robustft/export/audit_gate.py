"""The audit before an export: every export carries its verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from robustft.errors import RobustftError
from robustft.plan import Plan
from robustft.provenance.audit import audit
from robustft.provenance.audit_state import PASSED, AuditReport

EXPORTS = "exports"
"""The default folder of exports. It is not in `results`, since exports are no outputs of the DAG."""


@dataclass(frozen=True)
class Standing:
    """The audit of a scale at the time of an export."""

    report: AuditReport
    reproduces: bool
    own: bool = False
    """Whether it is of a user's own project."""

    @property
    def root(self) -> str:
        """The hash over all records, or a text if there is none."""
        return self.report.root or "none: no manifest"

    @property
    def verdict(self) -> str:
        """The result of the audit in one line."""
        if self.report.ok:
            return f"audit passed: {PASSED}"
        return f"AUDIT FAILED: {len(self.report.findings)} broken links; exported unaudited on request"

    @property
    def meaning(self) -> str:
        """Whether the scale's numbers are reproductions of published ones, in one sentence."""
        if self.own:
            return f"Scale {self.report.scale} measures the project's own data and networks."
        if self.reproduces:
            return f"Scale {self.report.scale} runs the papers' own data and networks."
        standing = "its numbers are not a reproduction of a published one"
        return f"Scale {self.report.scale} measures small stand-ins; {standing}."


def audited(plan: Plan, *, unaudited: bool, log: Callable[[str], None]) -> Standing:
    """Audit a scale. Raises RobustftError if a link is broken, unless `unaudited`."""
    log(f"auditing scale {plan.scale}: {len(plan.steps)} steps")
    report = audit(plan)
    standing = Standing(report, bool(plan.config.scale["reproduces"]), plan.config.own is not None)
    if not report.ok and not unaudited:
        unfinished = report.findings[0].code == "missing-record"
        repair = "robustft audit names all of them; repair them, or export with --unaudited, which the export will say"
        raise RobustftError(
            f"the audit of scale {plan.scale} failed, so nothing is exported",
            where=f"{len(report.findings)} broken links, the first: {report.findings[0]}",
            next_step="run snakemake to the end" if unfinished else repair,
        )
    log(f"{standing.verdict}; root {standing.root}")
    return standing


def default_target(plan: Plan, name: str) -> Path:
    """Return the default target of an export of a scale."""
    return Path(EXPORTS) / plan.scale / name
