"""How far a run is: steps that are done, the work that they stand for, and the time left."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from robustft.cli import progress as module
from robustft.cli.progress import SHARED, Pace, Progress, wanted_steps
from robustft.cost import CostModel
from robustft.cost.machines import Machine
from robustft.errors import IntegrityError
from robustft.plan import Plan
from tests import toy_config

MACHINE = Machine("toy", "Toy", "cpu", {"float32": 1.0}, "assumed, not measured", False)
SECONDS = {"data": 10.0, "train": 4.0, "attack": 2.0}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Plan(toy_config.write(tmp_path / "config"))


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def run(plan, monkeypatch):
    """A run of which nothing is done; its steps cost `SECONDS`, and a second each if of another kind."""
    clock = Clock()
    model = SimpleNamespace(seconds=lambda step: SECONDS.get(step.kind, 1.0))
    progress = Progress(plan, plan.steps.values(), model=model, clock=clock)

    def finish(key, seconds, at):
        step = plan.steps[key]
        Path(step.record).parent.mkdir(parents=True, exist_ok=True)
        Path(step.record).touch()
        record = SimpleNamespace(values={"circumstances": {"seconds": seconds}})
        monkeypatch.setattr(module, "read_record", lambda path: record)
        clock.now = at
        done = progress.update()
        return [name for name in dict.fromkeys(map(progress.share_of, done)) if progress.complete(name)]

    return SimpleNamespace(progress=progress, finish=finish)


def test_steps_count_for_their_paper_and_what_no_paper_owns_counts_apart(plan, run):
    shares = run.progress.shares
    own = [step for step in plan.steps.values() if step.id.split("/")[0] == "toy"]
    assert shares["toy"].steps == len(own)
    assert shares[SHARED].steps == len(plan.steps) - len(own)
    assert run.progress.done == 0


def test_the_fraction_is_of_work_and_not_of_steps(plan, run):
    total = sum(SECONDS.get(step.kind, 1.0) for step in plan.steps.values())
    run.finish("data:digits", 10.0, at=10.0)
    assert run.progress.done == 1
    assert run.progress.fraction == pytest.approx(10.0 / total)


def test_a_paper_that_is_complete_is_told_once(plan, run):
    completed = []
    for number, key in enumerate(plan.steps):
        completed += run.finish(key, 1.0, at=float(number))
    assert completed == [SHARED, "toy"] or completed == ["toy", SHARED]
    assert run.progress.fraction == 1.0


def test_the_time_left_is_the_work_left_at_the_pace_of_the_work_done(plan, run):
    """Data took 20 s for an estimated 10, trainings 4 s for 4, and two jobs ran at a time: 14 s for 28 s of work."""
    assert run.progress.seconds_left() is None
    trainings = [step.key for step in plan.of_kind("train")][:2]
    run.finish("data:digits", 20.0, at=10.0)
    run.finish(trainings[0], 4.0, at=12.0)
    assert run.progress.seconds_left() is None
    run.finish(trainings[1], 4.0, at=14.0)
    kinds = [step.kind for step in plan.steps.values() if step.key not in {"data:digits", *trainings}]
    ratio = {"train": 1.0}
    work = sum(SECONDS.get(kind, 1.0) * ratio.get(kind, 28 / 18) for kind in kinds)
    assert run.progress.seconds_left() == pytest.approx(work * 14.0 / 28.0)


def test_a_kind_that_was_not_seen_yet_goes_at_the_pace_of_all_others():
    pace = Pace()
    assert pace.ratio("train") == 1.0
    pace.add("attack", estimated=2.0, observed=3.0)
    assert (pace.ratio("attack"), pace.ratio("train")) == (1.5, 1.5)


def test_a_record_of_before_counts_only_if_it_is_of_this_plan(plan, monkeypatch):
    """A record with the specification of now is done, one of another is not, nor is what reads it."""
    model = CostModel(plan, MACHINE)
    first, second = plan.steps["data:digits"], plan.of_kind("train")[0]
    for step in (first, second):
        for path in (*step.outputs.values(), step.record):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).touch()
    spec = {first.record: first.spec, second.record: second.spec}

    def read(path):
        if path not in spec:
            raise IntegrityError("missing")
        return SimpleNamespace(values={"step": {"spec": spec[path]}, "source": {"files": {}}})

    monkeypatch.setattr(module, "read_record", read)
    monkeypatch.setattr(module, "source_hashes", lambda files: {})
    assert Progress(plan, plan.steps.values(), model=model).done == 2
    spec[first.record] = {"edited": True}
    assert Progress(plan, plan.steps.values(), model=model).done == 0


def test_a_record_that_was_there_counts_as_done_when_it_is_written_again(plan, run):
    step = plan.steps["data:digits"]
    Path(step.record).parent.mkdir(parents=True, exist_ok=True)
    Path(step.record).write_text("{}")
    progress = Progress(plan, plan.steps.values(), model=CostModel(plan, MACHINE))
    progress.update()
    assert progress.done == 0
    os.utime(step.record, ns=(1, 1))
    progress.update()
    assert progress.done == 1


@pytest.mark.parametrize("target", ["outputs", "record"])
def test_a_target_needs_its_step_and_what_that_starts_from(plan, target):
    step = plan.of_kind("train")[-1]
    path = next(iter(step.outputs.values())) if target == "outputs" else step.record
    keys = [one.key for one in wanted_steps(plan, [path])]
    assert keys[-1] == step.key
    assert "data:digits" in keys
    assert len(keys) < len(plan.steps)


@pytest.mark.parametrize("targets", [[], ["all"]])
def test_without_a_target_of_the_plan_every_step_is_needed(plan, targets):
    assert wanted_steps(plan, targets) == list(plan.steps.values())
