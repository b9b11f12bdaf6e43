"""Adopting: results that verify are made known to Snakemake, and each other step has its problem named."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from robustft.config.load import Config
from robustft.errors import RobustftError
from robustft.plan import Plan
from robustft.provenance import adopt as adopting
from robustft.provenance.adopt import UNKNOWN, adopt, adoptable

TRAINING = "train:toy/main/high/at/seed0"


def lines(plan: Plan) -> list[str]:
    log: list[str] = []
    adopt(plan, log=log.append)
    return log


@pytest.fixture
def touched(monkeypatch) -> list[str]:
    """The steps that Snakemake is told of, instead of calling it."""
    keys: list[str] = []
    monkeypatch.setattr(adopting, "_touch", lambda plan, steps: keys.extend(step.key for step in steps))
    return keys


def test_a_whole_run_is_adopted(finished, touched):
    assert lines(finished)[-1].startswith(f"{len(finished.steps)} of {len(finished.steps)} steps verify")
    assert set(touched) == set(finished.steps)


def test_a_changed_file_is_named_and_every_step_behind_it_is_left_out(tampered, touched):
    log = lines(tampered)
    path = tampered.steps[TRAINING].outputs["history"]
    assert f"not adopted: {TRAINING}: {path} is not what its record says" in log
    assert any(line.endswith(f"it read what {TRAINING} made, which does not verify") for line in log)
    assert not {TRAINING, "numbers:toy", "manifest:toy"} & set(touched)
    seed1 = "train:toy/main/high/at/seed1"
    cause = f"{TRAINING}: {path} is not what its record says"
    assert f"not adopted: {seed1}: the job that makes it runs again, for {cause}" in log, "it is in the same bundle"
    assert "train:toy/main/high/partial/seed0" in touched


def test_a_step_without_a_record_is_no_news(copied, touched):
    Path(copied.steps[TRAINING].record).unlink()
    steps, problems = adoptable(copied)
    assert problems[TRAINING] == UNKNOWN
    assert TRAINING not in {step.key for step in steps}
    log = lines(copied)
    assert not [line for line in log if line.startswith(f"not adopted: {TRAINING}:")]
    assert "not adopted, without a record here: 1" in log


def test_an_edit_of_the_configuration_or_the_source_is_named(finished, monkeypatch):
    monkeypatch.setattr(adopting, "source_hashes", lambda files: {})
    steps, problems = adoptable(finished)
    assert problems[TRAINING] == "it was made by other source files"
    assert not [step for step in steps if step.kind != "download"]


def test_a_refusal_of_snakemake_is_an_error_with_its_last_lines(finished, monkeypatch):
    refusal = SimpleNamespace(returncode=1, stdout="", stderr="LockException: the folder is locked")
    monkeypatch.setattr(adopting.subprocess, "run", lambda *arguments, **options: refusal)
    with pytest.raises(RobustftError, match=r"Snakemake does not take the results[\s\S]*LockException"):
        adopt(finished, log=lambda line: None)


@pytest.fixture(scope="module")
def demo() -> Plan:
    return Plan(Config(scale="demo"))


def test_a_bundle_that_reads_what_is_planned_later_is_adopted(demo, monkeypatch):
    """Of a complete demo 859 of 983 steps were adopted: jobs were taken in the order of their first steps."""
    monkeypatch.setattr(adopting._Verifier, "problem", lambda self, step: None)
    steps, problems = adoptable(demo)
    assert problems == {}
    assert {step.key for step in steps} == set(demo.steps)
    done: set[str] = set()
    for job in adopting._in_order(demo):
        assert adopting._read_by(demo, job).keys() <= done
        done |= {step.key for step in job}


def test_each_step_that_is_not_adopted_has_a_reason_of_its_own(demo, monkeypatch):
    broken = "data:digits_5to9_c"
    monkeypatch.setattr(adopting._Verifier, "problem", lambda self, step: "broken" if step.key == broken else None)
    steps, problems = adoptable(demo)
    assert {step.key for step in steps} | problems.keys() == set(demo.steps)
    assert not {step.key for step in steps} & problems.keys()
    readers = [key for key, problem in problems.items() if problem == f"it read what {broken} made, which runs again"]
    assert readers
    assert all(demo.steps[key].inputs["data"].endswith("digits_5to9_c.safetensors") for key in readers)
    assert problems["numbers:adv_ss_pretraining"].startswith("it read what attack:adv_ss_pretraining/main/")
    mates = [problem for problem in problems.values() if problem.startswith("the job that makes it runs again, for ")]
    assert mates
    assert all(f": it read what {broken} made" in problem or ", for attack:" in problem for problem in mates)
