"""Commands that read finished results: what they print, and their exit status."""

import pytest

from robustft.files import write_json
from robustft.provenance.audit_state import AuditReport, Finding


@pytest.mark.parametrize(("findings", "status"), [([], 0), ([Finding("changed-file", "a", "text")], 1)])
def test_an_audit_with_findings_fails(findings, status, command, capsys, monkeypatch):
    asked = []

    def audit(plan, *, require_images):
        asked.append(require_images)
        return AuditReport(plan.scale, findings=findings, notes=[], root=None)

    monkeypatch.setattr("robustft.provenance.audit.audit", audit)
    assert command("audit") == status
    assert command("audit", "--require-images") == status
    assert asked == [False, True]
    assert ("FAIL" in capsys.readouterr().out) == bool(findings)


def test_a_summary_counts_the_papers_of_the_plan(command, capsys):
    write_json("results/small/toy/numbers.json", {"measurements": []})
    write_json("results/small/toy/verdicts.json", {"verdicts": [{"verdict": "holds"}]})
    assert command("summary") == 0
    assert any(line.startswith("| toy | 0 |") for line in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize(
    ("words", "function"),
    [
        (["explain", "toy/main:at/fgsm"], "robustft.provenance.explain.explain"),
        (["readme"], "robustft.provenance.readme.update_readme"),
    ],
)
def test_a_text_about_the_plan_is_printed(words, function, command, capsys, monkeypatch, toy_plan):
    monkeypatch.setattr(function, lambda plan, *more: f"{plan is toy_plan} {more}")
    assert command(*words) == 0
    assert capsys.readouterr().out == f"True {tuple(words[1:])}\n"


def test_adopting_is_told_on_standard_error(command, capsys, monkeypatch):
    monkeypatch.setattr("robustft.provenance.adopt.adopt", lambda plan, log: log("2 steps verify"))
    assert command("adopt") == 0
    assert capsys.readouterr() == ("", "[adopt] 2 steps verify\n")
