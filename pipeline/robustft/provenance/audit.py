"""The audit: numbers follow from recorded ledgers, files are as recorded, every broken link is named.

It shows that files agree with each other, not that anything was measured (docs/trust.md). No network, GPU or torch.

It relies on the configuration and the source of this checkout alone: every file is hashed again, every aggregate is
counted from its ledgers again, every table is rendered again.
"""

from __future__ import annotations

from robustft import __version__
from robustft.files import PACKAGE, digest_of, project_name, sha256_file
from robustft.plan import RESULTS, Plan
from robustft.provenance import (
    audit_circumstances,
    audit_files,
    audit_ledgers,
    audit_manifest,
    audit_numbers,
    audit_plausible,
    audit_remade,
)
from robustft.provenance.audit_state import AuditReport, AuditState
from robustft.provenance.checkout import git_state
from robustft.provenance.readme import readme_findings, readme_notes


def audit(plan: Plan, *, require_images: bool = False) -> AuditReport:
    """Check every step of a plan in the working directory, and the README, and return the report.

    Broken links are in the report's `findings`. It needs no network, GPU or torch. With `require_images` a step that
    ran outside this project's container images is a finding too.

    >>> import robustft
    >>> report = robustft.audit(robustft.make_plan(scale="smoke", papers=["twins"]))
    >>> report.ok  # nothing has been run in this folder
    False
    >>> report.findings[0].code
    'missing-record'
    """
    state = AuditState(plan)
    state.report.auditor = auditor()
    if nothing := audit_files.nothing_run(plan):
        state.report.nothing_run = nothing
        state.add("missing-record", f"{RESULTS}/{plan.scale}", nothing)
        return state.report
    audit_files.read_records(state)
    finished = [step for step in plan.steps.values() if step.key in state.records]
    state.hash_all(path for step in finished for path in step.outputs.values())
    for step in finished:
        state.guarded(audit_files.check_outputs, state, step, subject=step.record)
        state.guarded(audit_files.check_inputs, state, step, subject=step.record)
    for check in CHECKS:
        state.guarded(check, state)
    state.guarded(audit_circumstances.check_images, state, required=require_images)
    audit_remade.check_data(state)
    audit_ledgers.check_ledgers(state)
    for step in plan.of_kind("numbers"):
        state.guarded(audit_numbers.check_paper, state, step, subject=step.outputs["numbers"])
    audit_remade.check_texts_and_figures(state)
    state.guarded(audit_manifest.check_manifests, state)
    state.guarded(check_readme, state)
    return state.report


CHECKS = (
    audit_circumstances.check_configuration,
    audit_circumstances.check_source,
    audit_circumstances.note_origins,
    audit_circumstances.note_environments,
    audit_files.check_package_files,
    audit_files.check_downloads,
    *audit_plausible.CHECKS,
)
"""The checks of all records together, in the order of their findings."""


def check_readme(state: AuditState) -> None:
    """Check the numbers of the README and of docs/."""
    for code, subject, text in readme_findings(state.report.counts):
        state.add(code, subject, text)
    state.report.notes += readme_notes()


def auditor() -> str:
    """Return who audits: the version of this package, the commit that git tells, and a hash over its source files."""
    state = git_state()
    clean = {True: "clean", False: "edited"}.get(state["clean"], "unknown to git")
    files = {project_name(path): sha256_file(path) for path in sorted(PACKAGE.rglob("*.py"))}
    return f"robustft {__version__}, commit {str(state['commit'])[:12]} ({clean}), source {digest_of(files)[:16]}"
