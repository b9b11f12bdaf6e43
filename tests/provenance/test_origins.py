"""What a record keeps of where its values come from: file, basis and source, and no lines."""

from __future__ import annotations

from functools import partial

import pytest

from robustft.plan import Plan
from robustft.provenance.job import job_path, read_job, write_jobs
from robustft.provenance.origins import recorded_origins, with_origins
from tests import toy_config
from tests.toy_config import paper

RUN = "toy/main/high/at/seed0"


@pytest.fixture
def plan(tmp_path) -> Plan:
    recipe = {"epochs": {"value": 60, "basis": "published", "source": "section 4"}, "lr": 0.5}
    return Plan(toy_config.write(tmp_path / "config", paper=paper(experiment={"recipe": recipe})))


def test_a_value_has_its_file_basis_and_source_and_without_a_tag_it_is_ours(plan):
    origins = recorded_origins(plan, plan.step("train", RUN))
    assert origins["recipe.epochs"] == ["config/papers/toy/paper.yaml", "published", "section 4"]
    assert origins["recipe.lr"] == ["config/papers/toy/paper.yaml", "ours", ""]
    assert origins["backbone.parameters.width"][0] == "config/backbones.yaml"


def test_trainings_and_attacks_alone_have_origins(plan):
    assert {step.kind for step in plan.steps.values() if recorded_origins(plan, step)} == {"train", "attack"}


def test_every_step_of_a_bundle_has_its_own_origins_and_stays_the_same_step(plan):
    (bundle, *_) = plan.bundles()
    complete = with_origins(plan, bundle)
    assert complete.digest == bundle.digest
    for step, before in zip(complete.steps, bundle.steps, strict=True):
        assert (step.digest, before.origins) == (before.digest, {})
        assert step.origins == recorded_origins(plan, before) != {}


def test_a_job_file_tells_the_origins(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    step = plan.step("train", RUN)
    write_jobs([step], "small", complete=partial(with_origins, plan))
    job = read_job(job_path(step, "small"))
    assert (job.digest, job.origins) == (step.digest, recorded_origins(plan, step))
