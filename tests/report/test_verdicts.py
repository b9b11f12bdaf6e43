"""Verdicts by hand: nothing turns green because nothing was found against it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from robustft.errors import IntegrityError
from robustft.report.verdict_tables import build_grid
from robustft.report.verdicts import Judge, adjusted, judge_ordering, judge_value, judged, verdicts
from tests.report.measured import average, kept, ordering, published_difference, value

T2, T4, Z = 4.302653, 2.776445, 1.959964
"""Two-sided 5 % quantiles: Student's with 2 and 4 degrees of freedom, the normal one."""


@pytest.mark.parametrize(
    ("estimate", "p", "verdict"),
    [(0.1, 0.049, "holds"), (-0.1, 0.049, "reversed"), (0.1, 0.05, "inconclusive"), (-0.1, 0.9, "inconclusive")],
)
def test_an_ordering_is_judged_at_five_percent(estimate, p, verdict):
    assert judge_ordering(estimate, p) == verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.01, 0.01, "reproduced"),
        (-0.005, 0.004, "reproduced"),
        (-0.005, 0.02, "inconclusive"),
        (-0.05, 0.05, "inconclusive"),
        (0.011, 0.05, "differs"),
        (-0.05, -0.011, "differs"),
    ],
)
def test_a_value_is_reproduced_only_within_the_margin(low, high, verdict):
    assert judge_value(low, high, margin=0.01) == verdict


# -- orderings ---------------------------------------------------------------------------------------------------------


def test_orderings_from_ledgers(three):
    judge = three.judge()
    assert judge.judge(ordering("strong", "weak"))["verdict"] == "holds"
    assert judge.judge(ordering("weak", "strong"))["verdict"] == "reversed"


def test_fewer_than_three_seeds_is_inconclusive_however_large_the_difference(three):
    assert three.judge().judge(ordering("strong", "lone"))["verdict"] == "inconclusive"


def test_one_seed_gives_a_difference_and_no_interval(world):
    for method, correct in (("strong", 9), ("weak", 1)):
        world.add(method, 0, {"aa": kept(correct, 10)})
    found = world.judge().judge(ordering("strong", "weak"))
    assert (found["verdict"], found["estimate"], "low" in found) == ("inconclusive", pytest.approx(0.8), False)


def test_what_was_not_run_is_said(three):
    judge = three.judge()
    assert judge.judge(ordering("strong", "absent"))["verdict"] == "not run"
    assert judge.judge(value(90.0, method="absent"))["verdict"] == "not run"


# -- at a scale of stand-ins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("left", "right"), [("strong", "weak"), ("weak", "strong"), ("strong", "strong")])
def test_between_stand_ins_an_ordering_has_a_direction_and_no_verdict(left, right, three):
    """On digits HyperAT "does not hold" on one machine and is inconclusive on another."""
    found = three.judge(reproduces=False).judge(ordering(left, right))
    assert (found["verdict"], "low" in found, "p" in found) == ("direction here", True, False)


def test_between_stand_ins_two_seeds_have_a_direction_too(three):
    assert three.judge(reproduces=False).judge(ordering("strong", "lone"))["verdict"] == "direction here"


def test_a_stand_in_is_never_comparable_with_a_published_value(three):
    """Even if the numbers agree exactly."""
    assert three.judge(reproduces=False).judge(value(90.0))["verdict"] == "not comparable"


def test_a_missing_value_is_no_number(three):
    assert three.judge().judge(value("missing"))["verdict"] == "no published value on record"


# -- several orderings -------------------------------------------------------------------------------------------------


def test_the_p_values_of_a_papers_orderings_are_adjusted_for_their_number():
    raw = [{"verdict": "", "estimate": 0.1, "p": p} for p in (0.001, 0.012, 0.02, 0.04, 0.3)]
    found = adjusted([*raw, {"verdict": "not run"}])
    assert [one["p_holm"] for one in found[:5]] == pytest.approx([0.005, 0.048, 0.06, 0.08, 0.3])
    assert [one["verdict"] for one in found[:5]] == ["holds", "holds"] + ["inconclusive"] * 3
    assert found[5] == {"verdict": "not run"}


def test_verdicts_of_a_paper_are_the_adjusted_ones(three):
    # Ten copies of a claim whose p is just below 5 % alone.
    claim = ordering("strong", "weak")
    spec = {**three.spec(), "claims": [claim] * 10}
    found = judged(spec, three.files())["verdicts"]
    assert found[0]["p_holm"] == pytest.approx(10 * found[0]["p"])
    assert {one["verdict"] for one in found} == {"holds"}


def test_competitive_is_no_worse_than_by_a_margin(world):
    for seed, (left, right) in enumerate(((491, 500), (490, 501), (489, 499))):
        world.add("left", seed, {"aa": kept(left, 1000)})
        world.add("right", seed, {"aa": kept(right, 1000)})
    judge = world.judge()
    assert judge.judge(ordering("left", "right"))["verdict"] == "reversed"  # one point below
    found = judge.judge(ordering("left", "right", margin=3.0))
    assert (found["verdict"], found["below"]) == ("holds", 3.0)
    assert found["estimate"] == pytest.approx(-0.01)  # the interval is of the difference itself
    assert judge.judge(ordering("left", "right", margin=1.1))["verdict"] == "inconclusive"
    assert judge.judge(ordering("left", "right", margin=0.1))["verdict"] == "reversed"
    spec = {**world.spec(), "claims": [ordering("left", "right", margin=3.0)] * 2}
    assert {one["verdict"] for one in judged(spec, world.files())["verdicts"]} == {"holds"}


# -- what training needs -----------------------------------------------------------------------------------------------


def needs_less(left: str, right: str, metric: str = "epochs_to_best", **more: str) -> dict:
    return ordering(left, right, metric=metric, **more)


def test_left_needs_less_than_right_by_hand(world):
    world.needs("epochs_to_best", quick=[10.0, 12.0, 11.0], slow=[20.0, 21.0, 22.0])
    judge = world.judge()
    found = judge.judge(needs_less("quick", "slow"))
    # Saved 21 - 11 = 10; both sides have sd 1: t(4) sqrt((1 + 1) / 3).
    half = T4 * (2 / 3) ** 0.5
    assert (found["estimate"], found["low"]) == pytest.approx((10.0, 10.0 - half), rel=1e-6)
    assert (found["verdict"], found["unit"], found["seeds"]) == ("holds", "epochs", 3)
    assert judge.judge(needs_less("slow", "quick"))["verdict"] == "reversed"


def test_what_training_needs_is_not_paired_by_the_number_of_the_seed(world):
    world.needs("epochs_to_best", quick=[1.0, 50.0, 99.0], slow=[2.0, 51.0, 100.0])
    assert world.judge().judge(needs_less("quick", "slow"))["verdict"] == "inconclusive"


def test_parameters_are_counted_and_compared_exactly(world):
    """They once had an interval of seeds, of no width."""
    world.needs("trained_parameters", small=[10.0] * 3, large=[90.0] * 3, same=[90.0] * 3, once=[10.0])
    judge = world.judge()
    found = judge.judge(needs_less("small", "large", "trained_parameters"))
    assert (found["verdict"], found["exact"], found["estimate"], found["unit"]) == ("holds", True, 80.0, "parameters")
    assert not {"low", "p"} & set(found)
    assert judge.judge(needs_less("large", "small", "trained_parameters"))["verdict"] == "reversed"
    assert judge.judge(needs_less("same", "large", "trained_parameters"))["verdict"] == "differs"
    assert judge.judge(needs_less("once", "large", "trained_parameters"))["verdict"] == "holds"  # seeds do not matter
    here = world.judge(reproduces=False).judge(needs_less("small", "large", "trained_parameters"))
    assert (here["verdict"], here["exact"]) == ("direction here", True)


def test_a_count_that_depends_on_the_seed_is_an_error(world):
    world.needs("trained_parameters", small=[10.0, 10.0, 11.0], large=[90.0] * 3)
    with pytest.raises(IntegrityError, match="not the same in every seed"):
        world.judge().judge(needs_less("small", "large", "trained_parameters"))


def test_of_two_seeds_nothing_is_concluded_and_of_none_nothing_was_run(world):
    world.needs("epochs_to_best", quick=[1.0, 1.0], slow=[9.0, 9.0, 9.0], once=[1.0])
    judge = world.judge()
    assert judge.judge(needs_less("quick", "slow"))["verdict"] == "inconclusive"
    found = judge.judge(needs_less("once", "slow"))
    assert (found["verdict"], found["seeds"]) == ("inconclusive", 1)
    assert judge.judge(needs_less("quick", "absent"))["verdict"] == "not run"
    assert judge.judge(needs_less("quick", "slow", "trained_parameters"))["verdict"] == "not run"


def test_what_training_needs_may_be_narrowed_to_one_data_set(world):
    world.needs("epochs_to_best", quick=[90.0] * 3, slow=[10.0] * 3)
    for one in world.trainings:
        one["dataset"] = "e"
        world.run(one["method"], one["seed"], dataset="e")
    world.needs("epochs_to_best", quick=[1.0] * 3, slow=[2.0] * 3)
    judge = world.judge()
    assert judge.judge(needs_less("quick", "slow", dataset="d"))["verdict"] == "holds"
    assert judge.judge(needs_less("quick", "slow", dataset="e"))["verdict"] == "reversed"
    found = judge.judge(needs_less("quick", "slow"))
    assert found["estimate"] == pytest.approx((1 - 80) / 2)
    assert found["by_dataset"] == {"number": 2, "other_way": 1}


def test_what_training_needs_is_averaged_over_the_same_data_sets_in_each_seed(world):
    """A seed whose second data set is not there was compared with seeds that have it."""
    world.needs("epochs_to_best", quick=[90.0] * 2, slow=[10.0] * 2)
    for one in world.trainings:
        one["dataset"] = "e"
        world.run(one["method"], one["seed"], dataset="e")
    world.needs("epochs_to_best", quick=[1.0] * 3, slow=[2.0] * 3)
    found = world.judge().judge(needs_less("quick", "slow"))
    assert (found["verdict"], found["seeds"]) == ("inconclusive", 2)


def test_the_unit_of_what_training_needs_is_shown_and_its_number_is_no_percentage(world):
    world.needs("epochs_to_best", quick=[10.0, 12.0, 11.0], slow=[20.0, 21.0, 22.0])
    world.needs("trained_parameters", quick=[1000.0], slow=[35176.0])
    claims = [needs_less("quick", "slow"), needs_less("quick", "slow", "trained_parameters")]
    spec = {**world.spec(), "claims": claims}
    grid = build_grid(spec, judged(spec, world.files()))
    shown = dict(zip(grid.column_names, zip(*(row[1:] for row in grid.rows), strict=True), strict=True))
    assert shown["difference"] == ("+10.0 [+7.7, +12.3] epochs", "+34,176 parameters")
    assert shown["verdict"] == ("holds", "holds, exact")


def test_a_published_number_of_epochs_is_held_against_its_margin_in_epochs(world):
    world.needs("epochs_to_best", strong=[46.0, 50.0, 48.0])
    claim = value(49, metric="epochs_to_best", decimals=0)
    # 48 - 49 = -1; t(2) 2 sqrt(1/3 + 1) = 9.94; half an epoch of rounding.
    found = world.judge().judge({**claim, "margin": 12.0})
    half = T2 * 2 * (1 / 3 + 1) ** 0.5 + 0.5
    assert (found["low"], found["high"]) == pytest.approx((-1 - half, -1 + half), rel=1e-6)
    assert (found["verdict"], found["unit"]) == ("reproduced", "epochs")
    assert world.judge().judge({**claim, "margin": 5.0})["verdict"] == "inconclusive"


def test_a_published_count_is_equal_within_its_rounding_or_it_differs(world):
    world.needs("trained_parameters", strong=[275_722.0])
    one_percent = value(851_520, metric="trained_parameters", margin=425_760.0)
    found = world.judge().judge(one_percent)
    assert (found["verdict"], found["exact"], found["at_double_margin"]) == ("differs", True, "reproduced")
    assert world.judge().judge({**one_percent, "value": 300_000})["verdict"] == "reproduced"


# -- several attacks, evaluations and data sets ------------------------------------------------------------------------


@pytest.fixture
def several(world):
    """One method under two attacks in two evaluations, on one data set and on two others."""
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(40)
        attacks = {"clean": kept(40, 40), "traditional": kept(36, 40), "adaptive": kept(4, 40)}
        world.add("a", seed, attacks)
        world.add("b", seed, {"clean": kept(20, 40)}, order=shuffled)
        for dataset, (one, other) in {"e": (10, 30), "f": (20, 36)}.items():
            world.add("a", seed, {"clean": kept(one, 40)}, dataset=dataset, evaluation="zero_shot")
            world.add("b", seed, {"clean": kept(other, 40)}, dataset=dataset, evaluation="zero_shot", order=shuffled)
    return world.judge()


def test_two_attacks_on_one_method_can_be_compared(several):
    claim = ordering("a", "a", metric="traditional")
    found = several.judge({**claim, "left_metric": "traditional", "right_metric": "adaptive"})
    assert (found["verdict"], found["estimate"]) == ("holds", pytest.approx(0.8))  # 36/40 - 4/40
    reverse = {**claim, "left_metric": "adaptive", "right_metric": "traditional"}
    assert several.judge(reverse)["verdict"] == "reversed"
    assert several.judge({**claim, "right_metric": "adaptive"})["estimate"] == pytest.approx(0.8)
    assert several.judge(claim)["estimate"] == 0.0  # without them both sides are the metric's


def test_outcomes_are_paired_by_image_whatever_their_order_in_the_ledger(several):
    # `b` keeps 20 images that `a` keeps too. No seed differs; of 40 images 20 differ by one, and two are added.
    found = several.judge(ordering("a", "b", metric="clean", evaluation="main"))
    half = Z * ((22 / 42 - (20 / 42) ** 2) / 42) ** 0.5
    assert found["estimate"] == pytest.approx(0.5)
    assert found["high"] - found["estimate"] == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize(
    ("narrowed", "estimate", "verdict", "other_way"),
    [
        ({"evaluation": "main"}, 0.5, "holds", None),
        ({"evaluation": "zero_shot"}, (-20 - 16) / 80, "reversed", 0),
        ({"dataset": "e"}, -0.5, "reversed", None),
        ({"dataset": "d"}, 0.5, "holds", None),
        ({}, (20 - 20 - 16) / 120, "reversed", 1),
    ],
)
def test_a_claim_may_be_about_one_evaluation_or_one_data_set(narrowed, estimate, verdict, other_way, several):
    found = several.judge(ordering("a", "b", metric="clean", **narrowed))
    assert found["estimate"] == pytest.approx(estimate)
    assert found["verdict"] == verdict
    assert found.get("by_dataset", {}).get("other_way") == other_way


def test_a_claim_about_an_evaluation_that_was_not_run_says_so(several):
    assert several.judge(ordering("a", "b", metric="clean", evaluation="later"))["verdict"] == "not run"


def test_a_claim_that_names_no_evaluation_is_about_test_images(world):
    for seed in range(3):
        world.add("one", seed, {"aa": kept(10, 40)})
        world.add("one", seed, {"aa": kept(40, 40)}, evaluation="select", split="validation", first=100)
        world.add("two", seed, {"aa": kept(10, 40)})
    assert world.judge().judge(ordering("one", "two"))["estimate"] == 0.0


def test_several_evaluations_and_experiments_are_taken_together(several):
    claim = average(40.0, method="a", metric="clean")
    found = several.judge({**claim, "evaluation": ["zero_shot", "main"], "datasets": ["d", "e", "f"], "margin": 90.0})
    assert found["estimate"] == pytest.approx((1 + 10 / 40 + 20 / 40) / 3 - 0.4)
    both = ordering("a", "b", metric="clean", dataset="d", experiment=["main", "absent"])
    assert several.judge(both)["estimate"] == pytest.approx(0.5)
    assert several.judge({**both, "experiment": ["absent"]})["verdict"] == "not run"


def test_seeds_that_lack_a_data_set_are_left_out(world):
    """Outcomes of unequal length are no array: this once ended the whole report."""
    for method, correct in (("a", 30), ("b", 10)):
        for seed, dataset in ((0, "d"), (1, "d"), (2, "d"), (0, "e"), (1, "e")):
            world.add(method, seed, {"aa": kept(correct, 40)}, dataset=dataset)
    judge = world.judge()
    found = judge.judge(ordering("a", "b"))
    assert (found["seeds"], found["verdict"]) == (2, "inconclusive")
    assert judge.judge(ordering("a", "b", dataset="d"))["verdict"] == "holds"


# -- published values --------------------------------------------------------------------------------------------------


def test_published_weights_as_they_are_need_no_second_seed(world):
    """91.73 of 100 as printed, with two decimals: 9,173 of 10,000 images are that, +- half of the last digit."""
    world.add("strong", 0, {"aa": kept(9173, 10000)})
    claim = value(91.73, decimals=2, margin=0.05)
    assert world.judge().judge(claim)["verdict"] == "inconclusive", "of one training it says nothing"
    world.run("strong", 0, models=[], given=["net"], published=True)
    found = world.judge().judge(claim)
    assert (found["verdict"], found["given"], found["seeds"]) == ("reproduced", ["net"], 1)
    assert (found["low"], found["high"]) == (pytest.approx(-5e-5), pytest.approx(5e-5))
    assert world.judge().judge({**claim, "value": 91.8})["verdict"] == "differs"


def test_on_a_subset_nothing_is_judged_and_the_difference_is_told(three):
    spec, files = three.spec(), three.files()
    judge = Judge({**spec, "subset": True}, files)
    for claim in (ordering("strong", "weak"), value(90.0), ordering("strong", "lone")):
        found = judge.judge(claim)
        assert found["verdict"] == "not comparable: subset"
        assert "estimate" in found
        assert not {"p", "at_half_margin", "seeds_needed"} & set(found)
    assert judge.judge(value("missing"))["verdict"] == "no published value on record"
    assert judge.judge(ordering("strong", "weak", metric="later"))["verdict"] == "not run"


@pytest.fixture
def whole(world):
    """Seeds that keep 506, 512 and 509 of 1,000 images, the whole test set unless `split` says more."""

    def make(split: int = 1000, *, seeds: int = 3, reproduces: bool = True):
        for seed, correct in enumerate((506, 512, 509)[:seeds]):
            world.add("strong", seed, {"aa": kept(correct, 1000)}, split_images=split)
        return world.judge(reproduces=reproduces)

    return make


def test_the_worked_example_of_a_published_value(whole):
    """50.6 51.2 50.9 against 51.05: -.15 +- 1.495, inconclusive at a margin of 1 and reproduced at 2."""
    judge = whole()
    found = judge.judge(value(51.05, decimals=2))
    assert found["estimate"] == pytest.approx(-0.0015)
    assert found["high"] - found["estimate"] == pytest.approx(0.01495, abs=5e-6)
    assert (found["verdict"], found["at_half_margin"], found["at_double_margin"]) == (
        "inconclusive",
        "inconclusive",
        "reproduced",
    )
    assert found["seeds_needed"] == 5  # three seeds of a spread of .3 leave 1.49, five .91
    assert judge.judge(value(51.05, decimals=2, margin=2.0))["verdict"] == "reproduced"
    assert judge.judge(value(53.0, decimals=2, margin=0.2))["verdict"] == "differs"


def test_exact_agreement_without_any_spread_is_reproduced(world):
    """112 of 847 published accuracies could never be: the same test images counted as two samples."""
    for seed in range(3):
        world.add("strong", seed, {"aa": kept(50, 100)})
    found = world.judge().judge(value(50.0))
    assert (found["verdict"], found["high"]) == ("reproduced", pytest.approx(0.0005))


def test_a_published_mean_of_several_runs_is_surer(whole):
    found = whole().judge(value(51.05, decimals=2, runs=3))
    # t(2) x .003 x sqrt(1/3 + 1/3) + rounding
    assert found["high"] - found["estimate"] == pytest.approx(T2 * 0.003 * (2 / 3) ** 0.5 + 0.00005, rel=1e-6)


def test_a_value_read_off_a_plot_is_as_uncertain_as_the_reading(whole):
    printed, read = (whole().judge(value(51.0, **more)) for more in ({}, {"read_off": 1.0}))
    assert read["high"] - printed["high"] == pytest.approx(0.01 - 0.0005)


def test_of_a_subset_the_interval_has_its_sampling_and_there_is_no_verdict(whole):
    """Design, section 8: another subset is not comparable."""
    found = whole(4000).judge(value(51.05, decimals=2, margin=20.0))
    assert (found["verdict"], "at_half_margin" in found) == ("not comparable", False)
    assert (found["images"], found["published_images"]) == ({"d": 1000}, {"d": 4000})
    # 509 of 1,000 are 511/1,004; three quarters of the set were not seen.
    sampling = Z * (511 / 1004 * 493 / 1004 / 1004 * 0.75) ** 0.5
    half = ((T2 * 0.003 * (4 / 3) ** 0.5) ** 2 + sampling**2) ** 0.5 + 0.00005
    assert found["high"] - found["estimate"] == pytest.approx(half, rel=1e-6)


def test_two_subsets_of_equal_size_are_two_samples_of_the_whole_set(whole):
    found = whole(4000).judge(value(51.05, decimals=2, margin=20.0, images={"d": 1000}))
    assert found["verdict"] == "reproduced"
    there = (0.5105 * 1000 + 2) / 1004
    sampling = Z * ((511 / 1004 * 493 / 1004 + there * (1 - there)) / 1004 * 0.75) ** 0.5
    half = ((T2 * 0.003 * (4 / 3) ** 0.5) ** 2 + sampling**2) ** 0.5 + 0.00005
    assert found["high"] - found["estimate"] == pytest.approx(half, rel=1e-6)


def test_the_published_number_of_images_is_the_claims_if_it_says_so(whole):
    assert whole().judge(value(51.05, margin=20.0, images={"d": 99}))["verdict"] == "not comparable"


def test_fewer_than_three_seeds_reproduce_nothing(whole):
    assert whole(seeds=2).judge(value(50.9, margin=90.0))["verdict"] == "inconclusive"


def test_a_stand_in_is_not_judged_even_where_the_scale_reproduces(whole):
    """A recompressed copy of the published data once could have turned green."""
    claim = {**value(50.0, margin=20.0), "stand_in": "d"}
    assert whole().judge(claim)["verdict"] == "not comparable"
    assert whole().judge({**claim, "value": "missing"})["verdict"] == "no published value on record"


def test_a_published_checkpoint_that_was_chosen_on_test_images_is_told_beside_the_verdict(whole):
    assert whole().judge(value(51.0, selection="test"))["selection"] == "test"
    assert "selection" not in whole().judge(value(51.0))


def test_a_published_value_over_several_data_sets_is_the_mean_of_their_accuracies(several):
    found = several.judge(average(40.0, method="a", metric="clean", evaluation="zero_shot", margin=30.0))
    # 10/40 and 20/40: their mean 0.375, against 0.4, on the same images, without any spread.
    assert found["estimate"] == pytest.approx(-0.025)
    assert found["high"] - found["estimate"] == pytest.approx(0.0005, rel=1e-6)
    assert (found["verdict"], found["seeds"]) == ("reproduced", 3)


def test_a_published_value_on_one_of_them_is_that_ones(several):
    claim = value(25.0, method="a", metric="clean", dataset="e", evaluation="zero_shot", margin=30.0)
    assert several.judge(claim)["estimate"] == pytest.approx(0.0)


def test_a_seed_without_a_data_set_does_not_count_in_an_average(world):
    """The accuracy of such a seed was averaged over fewer data sets than the others'."""
    for seed, dataset, correct in ((0, "d", 10), (1, "d", 10), (2, "d", 10), (0, "e", 30), (1, "e", 30)):
        world.add("strong", seed, {"aa": kept(correct, 40)}, dataset=dataset)
    judge, claim = world.judge(), average(50.0, margin=90.0)
    assert (judge.judge(claim)["verdict"], judge.judge(claim)["seeds"]) == ("inconclusive", 2)
    assert judge.judge({**claim, "datasets": ["d"]})["seeds"] == 3


def test_an_average_of_which_a_data_set_was_not_measured_was_not_run(several):
    claim = average(40.0, method="a", metric="clean", evaluation=["zero_shot"], margin=90.0)
    assert several.judge({**claim, "datasets": ["e", "f"]})["verdict"] == "reproduced"
    assert several.judge({**claim, "datasets": ["e", "f", "g"]})["verdict"] == "not run"


# -- published differences ---------------------------------------------------------------------------------------------


@pytest.fixture
def gain(world):
    """Seeds of which the left side keeps 79, 80 and 81 of 100 images and the right side 49, 50 and 51."""

    def make(seeds: int = 3, *, split: int = 100, reproduces: bool = True):
        for seed in range(seeds):
            world.add("strong", seed, {"aa": kept(79 + seed, 100)}, split_images=split)
            world.add("weak", seed, {"aa": kept(49 + seed, 100)}, split_images=split)
        return world.judge(reproduces=reproduces)

    return make


def test_a_published_difference_by_hand(gain):
    found = gain().judge(published_difference(28.0, margin=20.0))
    # .30 - .28; both sides have sd .01, of ours and of the published runs: t(4) sqrt(2 (1/3 + 1)) .01; rounding .0005.
    half = T4 * 0.01 * (2 * (1 / 3 + 1)) ** 0.5 + 0.0005
    assert found["estimate"] == pytest.approx(0.02)
    assert (found["low"], found["high"]) == pytest.approx((0.02 - half, 0.02 + half), rel=1e-6)
    assert (found["verdict"], found["published"], found["seeds"]) == ("reproduced", 28.0, 3)


@pytest.mark.parametrize(
    ("claimed", "margin", "verdict"),
    [(30.0, 10.0, "reproduced"), (30.0, 3.0, "inconclusive"), (-30.0, 10.0, "differs")],
)
def test_a_difference_is_reproduced_within_its_margin_with_its_sign(claimed, margin, verdict, gain):
    found = gain().judge(published_difference(claimed, margin=margin))
    assert found["verdict"] == verdict
    if verdict == "inconclusive":  # the interval is 4.6 points to either side
        assert (found["at_half_margin"], found["at_double_margin"]) == ("inconclusive", "reproduced")


def test_a_difference_that_was_not_published_run_or_made_at_this_scale_is_not_judged(gain):
    assert gain().judge(published_difference("missing"))["verdict"] == "no published value on record"
    assert gain(reproduces=False).judge(published_difference(30.0))["verdict"] == "not comparable"
    assert gain().judge(published_difference(30.0, left="absent"))["verdict"] == "not run"


def test_a_difference_of_two_seeds_is_inconclusive(gain):
    assert gain(2).judge(published_difference(30.0, margin=90.0))["verdict"] == "inconclusive"


def test_a_published_difference_on_another_subset_is_not_comparable(gain):
    found = gain(split=1000).judge(published_difference(30.0, margin=30.0))
    assert found["verdict"] == "not comparable"
    assert gain(split=1000).judge(published_difference(30.0, margin=30.0, images={"d": 100}))["verdict"] == "reproduced"


# -- long tables of published values -----------------------------------------------------------------------------------


def cell_of(method: str, dataset: str, published: object) -> dict:
    """A cell of a long table, as claims.expanded makes it."""
    claim = value(published, method=method, dataset=dataset, margin=20.0)
    return {**claim, "id": f"t__{method}_{dataset}", "table": "t", "cell": ["robust", f"{method}|x", dataset.upper()]}


@pytest.fixture
def table_spec(gain, world):
    """A verdicts step's specification: one claim, and a table of three cells of which one was not run."""

    def make(reproduces: bool) -> tuple[dict, dict]:
        gain()
        table = {"id": "t", "about": "a table", "source": "there", "confidence": "secondary", "caveats": ["weak"]}
        claims = [cell_of("strong", "d", 80.0), cell_of("weak", "d", 10.0), cell_of("absent", "d", "missing")]
        table |= {"claims": claims, "outside": {"other_eps": 7}}
        unread = {"id": "u", "about": "b", "source": "s", "confidence": "missing", "caveats": [], "claims": []}
        tables = [table, {**unread, "outside": {}, "unread": "nothing"}]
        spec = {**world.spec(reproduces=reproduces), "claims": [ordering("strong", "weak")], "tables": tables}
        return spec, world.files()

    return make


def test_cells_are_judged_where_the_scale_reproduces_and_counted_by_table(table_spec):
    spec, files = table_spec(True)
    content = judged(spec, files)
    table = content["tables"][0]
    assert table["verdicts"] == {"reproduced": 1, "differs": 1, "no published value on record": 1}
    assert [cell["verdict"] for cell in table["cells"]] == ["reproduced", "differs", "no published value on record"]
    assert "claims" not in table


def test_where_nothing_is_reproduced_cells_are_counted_and_not_listed(table_spec):
    spec, files = table_spec(False)
    content = judged(spec, files)
    assert content["tables"][0]["verdicts"] == {"not comparable": 2, "no published value on record": 1}
    assert "cells" not in content["tables"][0]


def test_a_paper_without_long_tables_has_none_in_its_verdicts(three):
    spec = {**three.spec(), "claims": []}
    assert judged(spec, three.files()) == {"paper": "p", "scale": "s", "margins": spec["margins"], "verdicts": []}


def test_the_step_writes_every_cell_into_json_and_markdown_and_rows_into_html(table_spec, tmp_path):
    spec, files = table_spec(True)
    outputs = {kind: tmp_path / f"verdicts.{kind}" for kind in ("json", "md", "html")}
    verdicts(spec, SimpleNamespace(inputs=files, outputs=outputs))  # all of a Context that the step reads
    assert json.loads(outputs["json"].read_text()) == judged(spec, files)
    text = outputs["md"].read_text()
    assert text.startswith("**Claims of p at scale s**")
    assert "\n**a table (there)**\n" in text
    assert "a table" in outputs["html"].read_text()
