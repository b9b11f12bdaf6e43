"""Steps that were run by hand are made again by the workflow if they were of something else than its plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from robustft.plan import Plan
from robustft.provenance.by_hand import code_of, foreign, note
from tests import toy_config

TRAINING = "train:toy/main/high/at/seed0"


@pytest.fixture
def plan(tmp_path, monkeypatch) -> Plan:
    """A plan, and a record of one step."""
    monkeypatch.chdir(tmp_path)
    plan = Plan(toy_config.write(tmp_path / "config"))
    Path(plan.steps[TRAINING].record).parent.mkdir(parents=True)
    Path(plan.steps[TRAINING].record).write_text("at noon")
    return plan


def test_each_run_by_hand_on_another_branch_changes_the_parameters_of_the_job_once(plan):
    """The audit failed for good, and Snakemake said that there was nothing to be done."""
    step, other = plan.steps[TRAINING], replace(plan.steps[TRAINING], spec={"seed": 7})
    before = code_of(step, foreign(plan))
    assert before == step.code
    note([other])
    first = code_of(step, foreign(plan))
    assert first == code_of(step, foreign(plan)) != before, "the workflow runs it once, and not again"
    Path(step.record).write_text("at midnight")
    note([other])
    assert code_of(step, foreign(plan)) not in (before, first), "the same branch by hand, a second time"
    (bundle,) = [one for one in plan.bundles() if step in one.steps]
    assert code_of(bundle, foreign(plan)).startswith(f"{bundle.code} ")


def test_a_step_run_by_hand_as_it_is_planned_is_not_made_again(plan):
    note([plan.steps[TRAINING]])
    assert foreign(plan) == {}


def test_other_source_files_count_too(plan, monkeypatch):
    step = plan.steps[TRAINING]
    with monkeypatch.context() as other:
        other.setattr(type(step), "code", "of another branch")
        note([step])
    assert list(foreign(plan)) == [TRAINING]


def test_a_step_that_is_not_in_the_plan_is_left_alone(plan):
    note([replace(plan.steps[TRAINING], id="toy/main/high/other/seed0")])
    assert foreign(plan) == {}
