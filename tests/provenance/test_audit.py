"""The audit of a whole small run: it has no findings."""

from __future__ import annotations

from robustft.provenance import audit as auditing
from robustft.provenance.audit import audit


def test_nothing_is_found_in_what_was_not_changed(finished):
    report = audit(finished)
    assert report.findings == []
    assert report.counts["steps"] == len(finished.steps)
    assert report.counts["verdicts"] == 3
    assert report.root is not None


def test_findings_of_the_readme_are_findings_of_the_audit(finished, monkeypatch):
    monkeypatch.setattr(auditing, "readme_findings", lambda counts: [("edited-readme", "docs/x.md", "text")])
    (finding,) = audit(finished).findings
    assert str(finding) == "[edited-readme] docs/x.md: text"
