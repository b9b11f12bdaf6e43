"""Verdicts by hand: nothing turns green because nothing was found against it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.report.intervals import (
    Interval,
)
from robustft.report.verdict_tables import build_grid
from robustft.report.verdicts import Judge, judge_ordering, judge_value, judged, verdicts


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.001, 0.1, "holds"), (-0.1, -0.001, "does not hold"), (-0.01, 0.1, "inconclusive"), (0.0, 0.1, "inconclusive")],
)
def test_an_ordering_needs_its_whole_interval_on_one_side(low, high, verdict):
    assert judge_ordering(Interval(0.0, low, high)) == verdict


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
    assert judge_value(Interval(0.0, low, high), margin=0.01) == verdict


def outcome(correct: list[int]) -> Outcome:
    n = len(correct)
    label = np.zeros(n, np.int16)
    prediction = np.array([0 if c else 1 for c in correct], np.int16)
    none = np.array([""] * n, dtype=object)
    return Outcome("aa", np.arange(n, dtype=np.int32), label, prediction, np.zeros(n), none)


def ledger(path, attacks: dict[str, list[int]], *, order: np.ndarray | None = None):
    """Write outcomes by attack, one digit an image, in some order of the images."""
    found = []
    for attack, correct in attacks.items():
        kept = outcome(correct)
        order = np.arange(len(correct)) if order is None else order
        arrays = {
            name: getattr(kept, name)[order] for name in ("image", "label", "prediction", "distance", "broken_by")
        }
        found.append(Outcome(attack, **arrays).table())
    write_ledger(path, found, checks={})
    return path


def member(name: str, method: str, seed: int, attacks, *, dataset: str = "d", evaluation: str = "main") -> dict:
    parts = {"ledger": name, "experiment": "main", "dataset": dataset, "method": method, "seed": seed}
    parts |= {"trained_on": dataset, "transfer_eval": False}
    return {**parts, "evaluation": evaluation, "attacks": list(attacks)}


def numbers(path, trainings: list[dict]):
    path.write_text(json.dumps({"trainings": trainings}))
    return path


@pytest.fixture
def judge(tmp_path):
    """Three seeds; `strong` keeps every image that `weak` keeps and most others."""
    members, paths = [], {"numbers": numbers(tmp_path / "numbers.json", [])}
    generator = np.random.default_rng(0)
    for method, share in (("weak", 0.3), ("strong", 0.9), ("lone", 0.5)):
        for seed in range(3 if method != "lone" else 2):
            name = f"{method}{seed}"
            correct = (generator.random(200) < share).astype(int).tolist()
            paths[name] = ledger(tmp_path / f"{name}.parquet", {"aa": correct})
            members.append(member(name, method, seed, ["aa"]))

    def make(reproduces: bool = True) -> Judge:
        return Judge({"members": members, "reproduces": reproduces}, paths)

    return make


def ordering(left: str, right: str) -> dict:
    claim = {"id": "c", "statement": "s", "source": "p", "confidence": "direct", "kind": "ordering"}
    return {**claim, "experiment": "main", "left": left, "right": right, "metric": "aa"}


def value(published: object, **more: object) -> dict:
    claim = {"id": "c", "statement": "s", "source": "p", "confidence": "secondary", "kind": "value", "margin": 1.0}
    claim |= {
        "experiment": "main",
        "dataset": "d",
        "method": "strong",
        "metric": "aa",
        "value": published,
        "decimals": 1,
    }
    return {**claim, **more}


def test_orderings_from_ledgers(judge):
    assert judge().judge(ordering("strong", "weak"))["verdict"] == "holds"
    assert judge().judge(ordering("weak", "strong"))["verdict"] == "does not hold"
    assert judge().judge(ordering("strong", "strong"))["verdict"] == "inconclusive"


def test_fewer_than_three_seeds_is_inconclusive_however_large_the_difference(judge):
    assert judge().judge(ordering("strong", "lone"))["verdict"] == "inconclusive"


def test_what_was_not_run_is_said(judge):
    assert judge().judge(ordering("strong", "absent"))["verdict"] == "not run"
    assert judge().judge(value(90.0, method="absent"))["verdict"] == "not run"


def test_a_missing_value_is_no_number(judge):
    assert judge().judge(value("missing"))["verdict"] == "no published value on record"


def test_a_stand_in_is_never_comparable_with_a_published_value(judge):
    """Even if the numbers agree exactly."""
    assert judge(reproduces=False).judge(value(90.0))["verdict"] == "not comparable"


def test_a_value_far_away_differs_and_shows_other_margins(judge):
    found = judge().judge(value(10.0))
    assert found["verdict"] == found["at_half_margin"] == found["at_double_margin"] == "differs"


# -- published differences ---------------------------------------------------------------------------------------------


def published(value: object, **more: object) -> dict:
    claim = {**ordering("strong", "weak"), "kind": "difference", "value": value, "decimals": 1, "margin": 1.0}
    return {**claim, **more}


@pytest.fixture
def exact(tmp_path):
    """Three seeds on 100 images, of which the left side keeps 80 and the right side 50 in every seed."""
    paths = {"numbers": numbers(tmp_path / "numbers.json", [])}
    members = []
    for method, kept in (("strong", 80), ("weak", 50)):
        for seed in range(3):
            name = f"{method}{seed}"
            paths[name] = ledger(tmp_path / name, {"aa": [1] * kept + [0] * (100 - kept)})
            members.append(member(name, method, seed, ["aa"]))

    def make(reproduces: bool = True, seeds: int = 3) -> Judge:
        kept = [one for one in members if one["seed"] < seeds]
        return Judge({"members": kept, "reproduces": reproduces}, paths)

    return make


def test_a_published_difference_by_hand(exact):
    found = exact().judge(published(28.0, margin=20.0))
    # Measured 0.80 - 0.50 = 0.30, published 0.28. Seeds agree. Of 100 images 30 differ by one: sample variance
    # 0.3 x 0.7 x 100/99; half of the last printed digit is 0.0005.
    half = 1.959964 * (0.3 * 0.7 / 99) ** 0.5 + 0.0005
    assert found["estimate"] == pytest.approx(0.02)
    assert (found["low"], found["high"]) == pytest.approx((0.02 - half, 0.02 + half), rel=1e-6)
    assert (found["verdict"], found["published"], found["seeds"]) == ("reproduced", 28.0, 3)


@pytest.mark.parametrize(
    ("claimed", "margin", "verdict"),
    [(30.0, 10.0, "reproduced"), (30.0, 5.0, "inconclusive"), (-30.0, 10.0, "differs")],
)
def test_a_difference_is_reproduced_within_its_margin_with_its_sign(claimed, margin, verdict, exact):
    assert exact().judge(published(claimed, margin=margin))["verdict"] == verdict


def test_a_difference_shows_other_margins(exact):
    found = exact().judge(published(30.0, margin=10.0))  # the interval is 9 points to either side
    assert (found["at_half_margin"], found["at_double_margin"]) == ("inconclusive", "reproduced")
    found = exact().judge(published(30.0, margin=5.0))
    assert (found["verdict"], found["at_double_margin"]) == ("inconclusive", "reproduced")


def test_a_difference_that_was_not_published_run_or_made_at_this_scale_is_not_judged(exact):
    assert exact().judge(published("missing"))["verdict"] == "no published value on record"
    assert exact(reproduces=False).judge(published(30.0))["verdict"] == "not comparable"
    assert exact().judge(published(30.0, left="absent"))["verdict"] == "not run"
    assert exact(seeds=2).judge(published(30.0, margin=90.0))["verdict"] == "inconclusive"


# -- what training needs -----------------------------------------------------------------------------------------------


def trainings(metric: str, **values: list[float]) -> list[dict]:
    """What the runs of each method needed, by seed."""
    same = {"experiment": "main", "dataset": "d", "metric": metric}
    return [
        {**same, "method": method, "seed": seed, "value": value}
        for method, found in values.items()
        for seed, value in enumerate(found)
    ]


@pytest.fixture
def needed(tmp_path):
    def make(told: list[dict]) -> Judge:
        return Judge({"members": [], "reproduces": False}, {"numbers": numbers(tmp_path / "n.json", told)})

    return make


def needs_less(left: str, right: str, metric: str = "epochs_to_best", **more: str) -> dict:
    return {**ordering(left, right), "metric": metric, **more}


def test_left_needs_less_than_right_by_hand(needed):
    judge = needed(trainings("epochs_to_best", quick=[10.0, 12.0, 11.0], slow=[20.0, 21.0, 22.0]))
    found = judge.judge(needs_less("quick", "slow"))
    # Saved: 10, 9, 11: mean 10, sd 1, t(2) = 4.302653, / sqrt 3.
    half = 4.302653 / 3**0.5
    assert (found["estimate"], found["low"]) == pytest.approx((10.0, 10.0 - half), rel=1e-6)
    assert (found["verdict"], found["unit"], found["seeds"]) == ("holds", "epochs", 3)
    assert judge.judge(needs_less("slow", "quick"))["verdict"] == "does not hold"


def test_what_training_needs_is_paired_by_seed(needed):
    # Each seed saves exactly one epoch, whatever the seed itself costs.
    judge = needed(trainings("epochs_to_best", quick=[1.0, 50.0, 99.0], slow=[2.0, 51.0, 100.0]))
    assert judge.judge(needs_less("quick", "slow"))["verdict"] == "holds"
    mixed = needed(trainings("epochs_to_best", quick=[99.0, 1.0, 50.0], slow=[2.0, 51.0, 100.0]))
    assert mixed.judge(needs_less("quick", "slow"))["verdict"] == "inconclusive"


def test_equal_counts_of_parameters_need_no_less_and_smaller_ones_do(needed):
    judge = needed(trainings("trained_parameters", small=[10.0] * 3, large=[90.0] * 3, same=[90.0] * 3))
    assert judge.judge(needs_less("small", "large", "trained_parameters"))["verdict"] == "holds"
    assert judge.judge(needs_less("same", "large", "trained_parameters"))["verdict"] == "inconclusive"
    assert judge.judge(needs_less("small", "large", "trained_parameters"))["unit"] == "count"


def test_of_two_seeds_nothing_is_concluded_and_of_none_nothing_was_run(needed):
    judge = needed(trainings("epochs_to_best", quick=[1.0, 1.0], slow=[9.0, 9.0, 9.0], once=[1.0]))
    assert judge.judge(needs_less("quick", "slow"))["verdict"] == "inconclusive"
    found = judge.judge(needs_less("once", "slow"))
    assert (found["verdict"], found["seeds"]) == ("inconclusive", 1)
    assert judge.judge(needs_less("quick", "absent"))["verdict"] == "not run"
    assert judge.judge(needs_less("quick", "slow", "trained_parameters"))["verdict"] == "not run"


def test_what_training_needs_may_be_narrowed_to_one_data_set(needed):
    other = [{**one, "dataset": "e"} for one in trainings("epochs_to_best", quick=[90.0] * 3, slow=[10.0] * 3)]
    judge = needed(trainings("epochs_to_best", quick=[1.0] * 3, slow=[2.0] * 3) + other)
    assert judge.judge(needs_less("quick", "slow", dataset="d"))["verdict"] == "holds"
    assert judge.judge(needs_less("quick", "slow", dataset="e"))["verdict"] == "does not hold"
    assert judge.judge(needs_less("quick", "slow"))["estimate"] == pytest.approx((1 - 80) / 2)


def test_the_unit_of_what_training_needs_is_shown_and_its_number_is_no_percentage(needed):
    judge = needed(trainings("epochs_to_best", quick=[10.0, 12.0, 11.0], slow=[20.0, 21.0, 22.0]))
    content = {"verdicts": [judge.judge(needs_less("quick", "slow"))]}
    grid = build_grid({"paper": "p", "scale": "s", "reproduces": False}, content)
    assert grid.rows[0][2] == "+10.0 [+7.5, +12.5] epochs"


# -- several attacks, evaluations and data sets ----------------------------------------------------------------------


@pytest.fixture
def several(tmp_path):
    """One method under two attacks in two evaluations, on one data set and on two others."""
    paths = {"numbers": numbers(tmp_path / "numbers.json", [])}
    members = []

    def add(evaluation: str, dataset: str, method: str, seed: int, attacks: dict[str, list[int]]) -> None:
        name = f"{evaluation}-{dataset}-{method}-{seed}"
        shuffled = np.random.default_rng(seed).permutation(40) if method == "b" else None
        paths[name] = ledger(tmp_path / name, attacks, order=shuffled)
        members.append(member(name, method, seed, attacks, dataset=dataset, evaluation=evaluation))

    for seed in range(3):
        add(
            "main",
            "d",
            "a",
            seed,
            {"clean": [1] * 40, "traditional": [1] * 36 + [0] * 4, "adaptive": [1] * 4 + [0] * 36},
        )
        add("main", "d", "b", seed, {"clean": [1] * 20 + [0] * 20})
        for dataset, (one, other) in {"e": (10, 30), "f": (20, 36)}.items():
            add("zero_shot", dataset, "a", seed, {"clean": [1] * one + [0] * (40 - one)})
            add("zero_shot", dataset, "b", seed, {"clean": [1] * other + [0] * (40 - other)})
    return Judge({"members": members, "reproduces": True}, paths)


def test_two_attacks_on_one_method_can_be_compared(several):
    claim = {**ordering("a", "a"), "metric": "traditional"}
    gap = {**claim, "left_metric": "traditional", "right_metric": "adaptive"}
    found = several.judge(gap)
    assert (found["verdict"], found["estimate"]) == ("holds", pytest.approx(0.8))  # 36/40 - 4/40
    reverse = {**claim, "left_metric": "adaptive", "right_metric": "traditional"}
    assert several.judge(reverse)["verdict"] == "does not hold"
    assert several.judge({**claim, "right_metric": "adaptive"})["estimate"] == pytest.approx(0.8)
    assert several.judge(claim)["estimate"] == 0.0  # without them both sides are the metric's


def test_outcomes_are_paired_by_image_whatever_their_order_in_the_ledger(several):
    # `b` keeps 20 images that `a` keeps too; paired, the difference varies as little as it can.
    found = several.judge({**ordering("a", "b"), "metric": "clean", "evaluation": "main"})
    half = 1.959964 * (0.5 * 0.5 / 39) ** 0.5
    assert found["estimate"] == pytest.approx(0.5)
    assert found["high"] - found["estimate"] == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize(
    ("narrowed", "estimate", "verdict"),
    [
        ({"evaluation": "main"}, 0.5, "holds"),
        ({"evaluation": "zero_shot"}, (-20 - 16) / 80, "does not hold"),
        ({"dataset": "e"}, -0.5, "does not hold"),
        ({"dataset": "d"}, 0.5, "holds"),
        ({}, (20 - 20 - 16) / 120, "does not hold"),
    ],
)
def test_a_claim_may_be_about_one_evaluation_or_one_data_set(narrowed, estimate, verdict, several):
    found = several.judge({**ordering("a", "b"), "metric": "clean", **narrowed})
    assert found["estimate"] == pytest.approx(estimate)
    assert found["verdict"] == verdict


def test_a_claim_about_an_evaluation_that_was_not_run_says_so(several):
    assert several.judge({**ordering("a", "b"), "metric": "clean", "evaluation": "later"})["verdict"] == "not run"


def test_a_published_value_over_several_data_sets_is_the_mean_of_their_accuracies(several):
    claim = {key: part for key, part in value(40.0, method="a", metric="clean").items() if key != "dataset"}
    found = several.judge({**claim, "evaluation": "zero_shot", "margin": 30.0})
    # 10/40 and 20/40: their mean 0.375, against 0.4, both on two sets of 40. Padded: 12/44, 22/44; 18/44 of each there.
    here, there = (12 / 44 * 32 / 44 + 22 / 44 * 22 / 44) / 44, 2 * (18 / 44 * 26 / 44) / 44
    sampling = 1.959964 * (here + there) ** 0.5 / 2
    assert found["estimate"] == pytest.approx(-0.025)
    assert found["high"] - found["estimate"] == pytest.approx(sampling + 0.0005, rel=1e-6)
    assert (found["verdict"], found["seeds"]) == ("reproduced", 3)


def test_a_published_value_on_one_of_them_is_that_ones(several):
    claim = value(25.0, method="a", metric="clean", dataset="e", evaluation="zero_shot", margin=30.0)
    assert several.judge(claim)["estimate"] == pytest.approx(0.0)


def test_seeds_that_lack_a_data_set_are_left_out(tmp_path):
    """Outcomes of unequal length are no array: this once ended the whole report."""
    paths = {"numbers": numbers(tmp_path / "numbers.json", [])}
    members = []
    for method, kept in (("a", 30), ("b", 10)):
        for seed, dataset in ((0, "d"), (1, "d"), (2, "d"), (0, "e"), (1, "e")):
            name = f"{method}{seed}{dataset}"
            paths[name] = ledger(tmp_path / name, {"aa": [1] * kept + [0] * (40 - kept)})
            members.append(member(name, method, seed, ["aa"], dataset=dataset))
    judge = Judge({"members": members, "reproduces": True}, paths)
    found = judge.judge(ordering("a", "b"))
    assert (found["seeds"], found["verdict"]) == (2, "inconclusive")
    assert judge.judge({**ordering("a", "b"), "dataset": "d"})["verdict"] == "holds"


def test_a_published_count_or_number_of_epochs_is_not_judged_as_an_accuracy(tmp_path):
    path = numbers(tmp_path / "n", trainings("epochs_to_best", strong=[10.0] * 3))
    judge = Judge({"members": [], "reproduces": True}, {"numbers": path})
    found = judge.judge(value(10.0, metric="epochs_to_best"))
    assert (found["verdict"], "estimate" in found) == ("inconclusive", False)


# -- what is compared with what ----------------------------------------------------------------------------------------


@pytest.fixture
def part(tmp_path):
    """Three seeds that keep 50 of 100 images, of a split of `split` images."""
    paths = {"numbers": numbers(tmp_path / "numbers.json", [])}
    members = []
    for seed in range(3):
        name = f"strong{seed}"
        paths[name] = ledger(tmp_path / name, {"aa": [1] * 50 + [0] * 50})
        members.append(member(name, "strong", seed, ["aa"]))

    def make(split: int, reproduces: bool = True) -> Judge:
        told = [{**one, "split_images": split} for one in members]
        return Judge({"members": told, "reproduces": reproduces}, paths)

    return make


def test_a_published_value_is_judged_on_as_many_images_only(part):
    """Design, section 8: another subset is not comparable."""
    assert part(100).judge(value(50.0, margin=20.0))["verdict"] == "reproduced"
    found = part(1000).judge(value(50.0, margin=20.0))
    assert found["verdict"] == "not comparable"
    assert (found["images"], found["published_images"]) == ({"d": 100}, {"d": 1000})
    assert "at_half_margin" not in found


def test_of_a_subset_the_interval_is_told_with_each_sides_own_number_of_images(part):
    found = part(1000).judge(value(50.0, margin=20.0))
    # 52/104 and 502/1,004 are halves: 0.25/104 and 0.25/1,004; rounding 0.0005.
    half = 1.959964 * (0.25 / 104 + 0.25 / 1004) ** 0.5 + 0.0005
    assert found["high"] - found["estimate"] == pytest.approx(half, rel=1e-6)


def test_the_published_number_of_images_is_the_claims_if_it_says_so(part):
    assert part(100).judge(value(50.0, margin=20.0, images={"d": 99}))["verdict"] == "not comparable"
    assert part(1000).judge(value(50.0, margin=20.0, images={"d": 100}))["verdict"] == "reproduced"


def test_a_published_difference_on_another_subset_is_not_comparable(exact):
    assert exact().judge(published(30.0, margin=10.0, images={"d": 1000}))["verdict"] == "not comparable"
    assert exact().judge(published(30.0, margin=10.0, images={"d": 100}))["verdict"] == "reproduced"


def test_a_stand_in_is_not_judged_even_where_the_scale_reproduces(part):
    """A recompressed copy of the published data once could have turned green."""
    claim = {**value(50.0, margin=20.0), "stand_in": "d"}
    assert part(100).judge(claim)["verdict"] == "not comparable"
    assert part(100).judge({**claim, "value": "missing"})["verdict"] == "no published value on record"


def test_a_seed_without_a_data_set_does_not_count_in_an_average(tmp_path):
    """The accuracy of such a seed was averaged over fewer data sets than the others'."""
    paths = {"numbers": numbers(tmp_path / "numbers.json", [])}
    members = []
    for seed, dataset, kept in ((0, "d", 10), (1, "d", 10), (2, "d", 10), (0, "e", 30), (1, "e", 30)):
        name = f"strong{seed}{dataset}"
        paths[name] = ledger(tmp_path / name, {"aa": [1] * kept + [0] * (40 - kept)})
        members.append(member(name, "strong", seed, ["aa"], dataset=dataset))
    judge = Judge({"members": members, "reproduces": True}, paths)
    claim = {key: part for key, part in value(50.0, margin=90.0).items() if key != "dataset"}
    assert (judge.judge(claim)["verdict"], judge.judge(claim)["seeds"]) == ("inconclusive", 2)
    assert judge.judge({**claim, "datasets": ["d"]})["seeds"] == 3


def test_an_average_of_which_a_data_set_was_not_measured_was_not_run(several):
    claim = {key: part for key, part in value(40.0, method="a", metric="clean").items() if key != "dataset"}
    claim |= {"evaluation": ["zero_shot"], "margin": 90.0}
    assert several.judge({**claim, "datasets": ["e", "f"]})["verdict"] == "reproduced"
    assert several.judge({**claim, "datasets": ["e", "f", "g"]})["verdict"] == "not run"


def test_several_evaluations_and_experiments_are_taken_together(several):
    claim = {key: part for key, part in value(40.0, method="a", metric="clean").items() if key != "dataset"}
    found = several.judge({**claim, "evaluation": ["zero_shot", "main"], "datasets": ["d", "e", "f"], "margin": 90.0})
    assert found["estimate"] == pytest.approx((1 + 10 / 40 + 20 / 40) / 3 - 0.4)
    both = {**ordering("a", "b"), "metric": "clean", "dataset": "d", "experiment": ["main", "absent"]}
    assert several.judge(both)["estimate"] == pytest.approx(0.5)
    assert several.judge({**both, "experiment": ["absent"]})["verdict"] == "not run"


def test_what_training_needs_is_averaged_over_the_same_data_sets_in_each_seed(needed):
    """A seed whose second data set is not there was compared with seeds that have it."""
    other = [{**one, "dataset": "e"} for one in trainings("epochs_to_best", quick=[90.0] * 2, slow=[10.0] * 2)]
    judge = needed(trainings("epochs_to_best", quick=[1.0] * 3, slow=[2.0] * 3) + other)
    found = judge.judge(needs_less("quick", "slow"))
    assert (found["verdict"], found["seeds"]) == ("inconclusive", 2)


# -- long tables of published values -----------------------------------------------------------------------------------


def cell_of(method: str, dataset: str, published: object) -> dict:
    """A cell of a long table, as claims.expanded makes it."""
    claim = value(published, method=method, dataset=dataset, margin=20.0)
    return {**claim, "id": f"t__{method}_{dataset}", "table": "t", "cell": ["robust", f"{method}|x", dataset.upper()]}


@pytest.fixture
def table_spec(exact):
    """A verdicts step's specification: one claim, and a table of three cells of which one was not run."""

    def make(reproduces: bool) -> tuple[dict, dict]:
        judge = exact(reproduces)
        table = {"id": "t", "about": "a table", "source": "there", "confidence": "secondary", "caveats": ["weak"]}
        claims = [cell_of("strong", "d", 80.0), cell_of("weak", "d", 10.0), cell_of("absent", "d", "missing")]
        table |= {"claims": claims, "outside": {"other_eps": 7}}
        unread = {"id": "u", "about": "b", "source": "s", "confidence": "missing", "caveats": [], "claims": []}
        tables = [table, {**unread, "outside": {}, "unread": "nothing"}]
        spec = {**judge._spec, "paper": "p", "scale": "s", "claims": [ordering("strong", "weak")], "tables": tables}
        return spec, judge._ledgers

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


def test_a_paper_without_long_tables_has_none_in_its_verdicts(exact):
    judge = exact()
    spec = {**judge._spec, "paper": "p", "scale": "s", "claims": []}
    assert judged(spec, judge._ledgers) == {"paper": "p", "scale": "s", "verdicts": []}


def test_the_step_writes_every_cell_into_json_and_markdown_and_rows_into_html(table_spec, tmp_path):
    spec, files = table_spec(True)
    outputs = {kind: tmp_path / f"verdicts.{kind}" for kind in ("json", "md", "html")}
    verdicts(spec, SimpleNamespace(inputs=files, outputs=outputs))  # all of a Context that the step reads
    assert json.loads(outputs["json"].read_text()) == judged(spec, files)
    text = outputs["md"].read_text()
    assert text.startswith("**Claims of p at scale s**")
    assert "\n**a table (there)**\n" in text
    assert "a table" in outputs["html"].read_text()
