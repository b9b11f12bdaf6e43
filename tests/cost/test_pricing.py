"""The time of a step, by hand."""

from __future__ import annotations

import pytest

from robustft.cost import CostModel
from robustft.cost.pricing import IN_BUNDLE_S, START_UP_S
from tests.cost.small import ALONE, derived
from tests.toy_config import pretraining


def seconds(model: CostModel, kind: str, id: str) -> float:
    return model.seconds(model.plan.step(kind, id)) - START_UP_S


def test_the_time_of_a_run_by_hand(model):
    # 24 images x 2 epochs; 3 splits x 8 images x 2 checks, FGSM and two scores.
    watched = 48 * (200 + 2 * 100)
    assert seconds(model, "train", "toy/main/high/at/seed0") == pytest.approx((48 * (200 + 300) + watched) * 1e-6)
    assert seconds(model, "train", "toy/main/high/partial/seed0") == pytest.approx((48 * 300 + watched) * 1e-6)


def test_the_time_of_an_evaluation_by_hand(model):
    # 20 images: four forward and four attack passes of checks, two for clean ones, two and one for FGSM.
    expected = 20 * ((4 + 2 + 2) * 100 + (4 + 1) * 200) * 1e-6
    assert seconds(model, "attack", "toy/main/high/at/seed0/robustness.1of1") == pytest.approx(expected)


def test_a_run_of_several_processes_holds_as_many_devices(planned):
    one, two = planned(scale=ALONE), planned(scale={**ALONE, "processes": 2})
    step = two.plan.step("train", "toy/main/high/at/seed0")
    assert two.seconds(step) == pytest.approx(START_UP_S + seconds(one, "train", step.id) / 2)
    assert two.device_seconds(step) == pytest.approx(2 * two.seconds(step))


@pytest.mark.parametrize(
    ("derivation", "networks"),
    [
        (derived("robustft.models.ensemble:mean_of_softmax"), 2),
        (derived("robustft.models.tunings.merging:uniform", defences=["at", "partial"]), 1),
    ],
)
def test_an_ensemble_runs_all_its_networks_and_a_merge_one(planned, derivation, networks):
    model = planned(paper=derivation, scale=ALONE)
    one = seconds(model, "attack", "toy/main/high/at/seed0/robustness.1of1")
    found = seconds(model, "attack", "toy/main/high/both/seed0/robustness.1of1")
    assert found == pytest.approx(networks * one)


def test_only_the_first_step_of_a_bundle_starts_a_process(planned):
    alone, together = planned(scale=ALONE), planned()
    saved = {step.key: alone.seconds(step) - together.seconds(step) for step in alone.plan.steps.values()}
    first = {bundle.steps[0].key for bundle in together.plan.bundles()}
    others = {step.key for bundle in together.plan.bundles() for step in bundle.steps} - first
    assert {key for key, gain in saved.items() if gain > 1e-9} == others
    assert all(saved[key] == pytest.approx(START_UP_S - IN_BUNDLE_S) for key in others)


def test_a_method_without_a_rule_and_a_backbone_without_a_measurement_are_named(model):
    assert model.assumptions(model.plan.steps.values()) == {"backbones": ["tiny"], "methods": []}


def test_pretraining_on_other_terms_is_priced_as_stated(planned):
    longer = planned(scale={**ALONE, "pretraining": {"low_standard": pretraining(recipe={"epochs": 4})}})
    usual = planned(scale=ALONE)
    id = "pretraining/low_standard"
    assert seconds(longer, "train", id) == pytest.approx(2 * seconds(usual, "train", id))
