"""Bundles hold each step once, in an order in which they can run."""

import pytest

from robustft.errors import ConfigError
from tests.plan.toy_plan import ALL, DERIVED


def test_bundles_hold_every_training_and_attack_once_and_nothing_else(planned):
    for plan in (planned(), planned(paper=ALL)):
        bundled = [step.key for bundle in plan.bundles() for step in bundle.steps]
        expected = [step.key for kind in ("train", "attack") for step in plan.of_kind(kind)]
        assert sorted(bundled) == sorted(expected)


def test_a_bundle_is_one_methods_seeds_and_each_step_comes_after_what_it_reads(planned):
    plan = planned(paper=ALL)
    assert [bundle.name for bundle in plan.bundles()] == [
        "pretraining_low_standard",
        *(f"toy_main_high_{name}" for name in ("at", "partial", *DERIVED)),
    ]
    made = {path for step in plan.of_kind("data") for path in step.outputs.values()}
    for bundle in plan.bundles():
        for step in bundle.steps:
            assert set(step.inputs.values()) <= made, step.key
            made |= set(step.outputs.values())
    bundle = plan.bundle("toy_main_high_at")
    assert [step.kind for step in bundle.steps] == ["train", "attack", "train", "attack"]
    assert [step.kind for step in plan.bundle("toy_main_high_merged").steps] == ["attack", "attack"]


def test_a_bundle_holds_as_many_methods_as_the_scale_says(planned):
    (first, *alone), (same, *pairs) = (planned(paper=ALL, scale={"bundle": most}).bundles() for most in (1, 2))
    assert first == same, "the pre-trainings of a paper are jobs before its methods"
    keys = [[step.key for step in bundle.steps] for bundle in alone]
    joined = [[key for one in keys[first : first + 2] for key in one] for first in range(0, len(keys), 2)]
    assert [[step.key for step in bundle.steps] for bundle in pairs] == joined
    assert [bundle.name for bundle in pairs] == [bundle.name for bundle in alone[::2]]


def test_an_unknown_bundle_offers_the_nearest(plan):
    with pytest.raises(ConfigError, match="did you mean 'toy_main_high_at'"):
        plan.bundle("toy_main_high_ta")
