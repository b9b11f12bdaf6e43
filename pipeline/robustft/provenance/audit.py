"""The audit: every number is traced back to data and source, every broken link is named. No network, GPU or torch.

It relies on the configuration and the source of this checkout alone: every file is hashed again, every aggregate is
counted from its ledgers again, every table is rendered again.
"""

from __future__ import annotations

from robustft.plan import Plan
from robustft.provenance import audit_circumstances, audit_files, audit_manifest, audit_numbers
from robustft.provenance.audit_state import AuditReport, AuditState
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
    audit_files.read_records(state)
    finished = [step for step in plan.steps.values() if step.key in state.records]
    state.hash_all(path for step in finished for path in step.outputs.values())
    for step in finished:
        audit_files.check_outputs(state, step)
        audit_files.check_inputs(state, step)
    audit_circumstances.check_configuration(state)
    audit_circumstances.check_source(state)
    audit_circumstances.note_origins(state)
    audit_files.check_package_files(state)
    audit_files.check_downloads(state)
    for step in plan.of_kind("numbers"):
        audit_numbers.check_paper(state, step)
    audit_circumstances.note_environments(state)
    audit_circumstances.check_images(state, required=require_images)
    audit_manifest.check_manifests(state)
    for code, subject, text in readme_findings(state.report.counts):
        state.add(code, subject, text)
    state.report.notes += readme_notes()
    return state.report
