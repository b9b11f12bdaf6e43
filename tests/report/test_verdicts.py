"""Verdicts by hand: nothing turns green because nothing was found against it."""

import numpy as np
import pytest

from pipeline.evaluate.ledger import Outcome, write_ledger
from pipeline.report.verdicts import (
    Interval,
    Judge,
    combined,
    difference,
    judge_ordering,
    judge_value,
    seed_half_width,
    value_interval,
)


def test_independent_errors_add_in_squares_and_rounding_in_full():
    interval = combined(0.10, 0.03, 0.04, rounding=0.005)
    assert (interval.low, interval.high) == pytest.approx((0.10 - 0.055, 0.10 + 0.055))


def test_seed_half_width_by_hand():
    # sd of (1, 2, 3) is 1; t(2) = 4.30265; 4.30265 / sqrt(3)
    assert seed_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def test_difference_by_hand():
    left = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    right = np.array([[1, 0, 0, 0], [1, 0, 0, 0]], bool)
    interval = difference(left, right)
    # per seed: 2/4 and 1/4, mean 3/8; t(1) = 12.7062, sd = 0.25/sqrt 2, / sqrt 2 -> 12.7062 x 0.125
    # per image: 0, 1, 1/2, 0: mean .375, var = (.140625 + .390625 + .015625 + .140625)/3 = .229167; / 4
    seeds, images = 12.706205 * 0.125, 1.959964 * (0.2291667 / 4) ** 0.5
    assert interval.estimate == pytest.approx(0.375)
    assert interval.high - interval.estimate == pytest.approx((seeds**2 + images**2) ** 0.5, rel=1e-6)


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


def test_a_wide_interval_is_never_reproduced_however_close_its_middle():
    """The t-test's fault: with noisy replicates everything agrees with everything. Here it is inconclusive."""
    interval = value_interval([0.50, 0.40, 0.60], images=10_000, published=0.50, decimals=2)
    assert judge_value(interval, margin=0.01) == "inconclusive"


def test_value_interval_by_hand():
    interval = value_interval([0.5, 0.5, 0.5], images=10_000, published=0.5, decimals=1)
    # no seed spread; sampling 1.959964 x 0.005 on both sides; half a unit of 0.1 points is 0.0005
    assert interval.high == pytest.approx(1.959964 * 0.005 * 2**0.5 + 0.0005, rel=1e-6)


def outcome(correct: list[int]) -> Outcome:
    n = len(correct)
    label = np.zeros(n, np.int16)
    prediction = np.array([0 if c else 1 for c in correct], np.int16)
    none = np.array([""] * n, dtype=object)
    return Outcome("aa", np.arange(n, dtype=np.int32), label, prediction, np.zeros(n), none)


@pytest.fixture
def judge(tmp_path):
    """Three seeds; `strong` keeps every image that `weak` keeps and most others."""
    members, paths = [], {}
    generator = np.random.default_rng(0)
    for method, share in (("weak", 0.3), ("strong", 0.9), ("lone", 0.5)):
        for seed in range(3 if method != "lone" else 2):
            name = f"{method}{seed}"
            paths[name] = tmp_path / f"{name}.parquet"
            write_ledger(
                paths[name], [outcome((generator.random(200) < share).astype(int).tolist()).table()], checks={}
            )
            member = {"ledger": name, "experiment": "main", "dataset": "d", "method": method, "seed": seed}
            members.append({**member, "attacks": ["aa"]})

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
