"""What an audit knows so far: its report as text, files that are hashed once, and differences of records."""

from robustft.provenance.audit_state import AuditReport, AuditState, Finding, differences, several


def test_differences_name_the_path_and_both_values():
    recorded, now = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1.5}, "d": [1], "e": 0}
    assert differences(recorded, now) == ["a.b: recorded 1, now 1.5", "a.c: is gone", "e: is new"]


def test_the_report_ends_with_its_verdict():
    report = AuditReport("small", findings=[], notes=["n"], root="abc")
    report.counts["steps"] = 2
    assert report.text().splitlines()[1:] == [
        "checked: 2 steps",
        "note: n",
        "root: abc",
        "PASS: every number follows from the recorded ledgers, and every file is as recorded",
    ]
    report.findings.append(Finding("code", "file", "text"))
    assert report.text().splitlines()[3:] == ["broken: [code] file: text", "root: abc", "FAIL: 1 broken links"]


def test_a_file_is_hashed_once_and_is_not_intact_after_a_finding(finished):
    state = AuditState(finished)
    path = finished.step("train", "toy/main/high/at/seed0").outputs["history"]
    assert state.hash(path) == state.hash(path) is not None
    assert state.hash("missing") is None
    assert state.report.counts["files hashed"] == 2
    assert not state.intact([path]), "the record of its step was not read"
    state.records["train:toy/main/high/at/seed0"] = object()
    assert state.intact([path])
    state.add("changed-file", path, "text")
    assert not state.intact([path])


def test_many_steps_are_named_by_the_first_one():
    assert several(["a"]) == "a"
    assert several(["a", "b", "c"]) == "a and 2 more steps"
