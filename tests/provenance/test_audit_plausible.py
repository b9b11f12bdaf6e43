"""What cannot be is a finding, though all hashes agree."""

import copy
import shutil
from pathlib import Path

import pytest

from robustft.provenance import audit_plausible
from robustft.provenance.audit_files import read_records
from robustft.provenance.audit_plausible import (
    CHECKS,
    check_code,
    check_commits,
    check_histories,
    check_packages,
    check_seeds,
    check_taken_over,
    check_times,
)
from robustft.provenance.audit_state import AuditState
from robustft.provenance.checkout import blob_hashes


def state_of(plan) -> AuditState:
    state = AuditState(plan)
    read_records(state)
    for key, record in state.records.items():
        state.records[key] = copy.deepcopy(record)
    return state


@pytest.fixture
def state(finished):
    return state_of(finished)


def test_an_honest_run_is_possible(state):
    for check in CHECKS:
        check(state)
    assert state.report.findings == []


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"ended": "1970-01-01T00:00:00+00:00"}, "before its start"),
        ({"started": "2099-01-01T00:00:00+00:00", "ended": "2099-01-01T00:01:00+00:00"}, "in the future"),
        ({"seconds": 86400.0}, "worked 86400 s in the"),
    ],
)
def test_times_that_cannot_be_are_named(told, text, state):
    key = next(iter(state.records))
    state.records[key].values["circumstances"].update(told)
    check_times(state)
    (finding,) = state.report.findings
    assert (finding.code, finding.subject) == ("impossible-time", state.records[key].path)
    assert text in finding.text


def test_one_checkpoint_for_two_seeds_is_named(copied):
    """A forger who trains once needs no second training: the description before the weights has the seed."""
    first, second = (Path(f"results/small/toy/main/high/at/seed{n}/checkpoint.safetensors") for n in (0, 1))
    shutil.copyfile(first, second)
    state = state_of(copied)
    check_seeds(state)
    (finding,) = state.report.findings
    assert finding.subject == str(second)
    assert "seeds 0, 1 of toy/main/high/at are equal to the last bit" in finding.text


@pytest.mark.parametrize("edit", [lambda lines: lines[:-1], lambda lines: [*lines, lines[-1]], lambda lines: lines[:1]])
def test_a_history_has_each_epoch_once(edit, copied):
    path = Path("results/small/toy/main/high/at/seed0/history.csv")
    path.write_text("".join(edit(path.read_text().splitlines(keepends=True))))
    state = state_of(copied)
    check_histories(state)
    (finding,) = state.report.findings
    assert (finding.code, finding.subject) == ("wrong-history", str(path))
    assert finding.text.endswith("its specification has 1 to 2")


def test_packages_that_the_lock_does_not_have_are_not_as_locked(state):
    key = next(iter(state.records))
    state.records[key].values["environment"]["packages"] = {"torch": "0.0.1"}
    check_packages(state)
    (finding,) = state.report.findings
    assert "torch 0.0.1" in finding.text


@pytest.mark.parametrize("kind", ["changed", "unowned"])
def test_code_that_was_not_installed_is_named(kind, state):
    key = next(iter(state.records))
    state.records[key].values["environment"]["code"] = {"changed": [], "unowned": [], kind: ["torch/evil.py"]}
    check_code(state)
    (finding,) = state.report.findings
    assert (finding.code, finding.subject) == ("changed-code", "torch/evil.py")
    assert finding.text.endswith(f"({key})")


@pytest.mark.parametrize(("attempt", "codes"), [(1, ["impossible-resume"]), (2, [])])
def test_pieces_of_an_earlier_attempt_are_told_and_a_first_attempt_has_none(attempt, codes, state):
    """Pieces of a forged attempt in scratch/ were taken over, and the record told of nothing."""
    key = next(iter(state.records))
    pieces = [{"file": "fgsm.0-20.piece", "sha256": "0" * 64}]
    state.records[key].values["circumstances"].update(taken_over=pieces, attempt=attempt)
    check_taken_over(state)
    assert [finding.code for finding in state.report.findings] == codes
    assert state.report.notes == [f"1 steps took over pieces of earlier attempts, whose making no record saw: {key}"]


def test_a_clean_tree_of_a_commit_that_holds_another_file_is_named(state, monkeypatch):
    name = "pipeline/robustft/files.py"
    commit, _ = "c" * 40, monkeypatch.setattr(audit_plausible, "blob_hashes", lambda files: dict.fromkeys(files, "0"))
    for record in state.records.values():
        record.values["environment"]["git"] = {"commit": commit, "clean": True}
        record.values["source"]["files"] = {name: "1" * 64}
    check_commits(state)
    (finding,) = state.report.findings
    assert finding.code == "forged-commit"
    assert f"where {name} is another file" in finding.text


def test_a_commit_that_is_not_here_is_a_note(state):
    for record in state.records.values():
        record.values["environment"]["git"] = {"commit": "f" * 40, "clean": True}
    assert blob_hashes([("f" * 40, "README.md")]) == {("f" * 40, "README.md"): None}
    check_commits(state)
    assert state.report.findings == []
    assert state.report.notes[0].startswith("this repository does not have commit ffffffffffff")
