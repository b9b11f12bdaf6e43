"""The rule that tells a forged outcome from rounding, at its limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.recheck.outcomes import (
    DIFFERS,
    EQUAL,
    FALSE_ALARM,
    FLIP_SHARE,
    IDENTICAL,
    ROUNDING,
    compare_ledgers,
    limit,
)

N = 200
CHECKS = {"model": {"zero_gradients": 0.0}, "fgsm": {"over_eps": 0.0}}


def outcome(*, flips: int = 0, attack: str = "fgsm", first: int = 0, label: int = 1, distance: float = 0.1) -> Outcome:
    """Images of class 1, the first few of them classified as 2."""
    prediction = np.ones(N, np.int16)
    prediction[:flips] = 2
    images, labels = np.arange(first, first + N, dtype=np.int32), np.full(N, label, np.int16)
    return Outcome(attack, images, labels, prediction, np.full(N, distance), np.array([""] * N, object))


@pytest.fixture
def compare(tmp_path):
    """Compare two ledgers of one attack."""

    def run(theirs, ours, *, same_kind=False, groups=1, checks=CHECKS):
        for name, one, about in (("a", theirs, checks), ("b", ours, CHECKS)):
            write_ledger(tmp_path / name, [one.table()], checks=about)
        return compare_ledgers(tmp_path / "a", tmp_path / "b", same_kind=same_kind, groups=groups)

    return run


def test_equal_bytes_are_identical(compare):
    found = compare(outcome(), outcome(), same_kind=True)
    assert (found.status, found.outcomes, found.flipped, found.differences) == (IDENTICAL, N, 0, [])


@pytest.mark.parametrize("same_kind", [True, False])
def test_other_floats_with_equal_outcomes_are_equal(compare, same_kind):
    assert compare(outcome(distance=0.1), outcome(distance=0.1001), same_kind=same_kind).status == EQUAL


def test_on_the_same_kind_of_machine_no_outcome_may_differ(compare):
    found = compare(outcome(flips=1), outcome(), same_kind=True)
    assert found.status == DIFFERS
    assert "fgsm: 1 of 200 outcomes differ, 0 may" in found.differences[0]
    assert "image 0 of class 1: recorded 2, run again 1" in found.differences[0]


def test_the_limit_is_the_binomial_quantile_that_is_stated():
    for groups in (1, 120):
        k = limit(N, groups)
        assert binom.sf(k, N, FLIP_SHARE) <= FALSE_ALARM / groups < binom.sf(k - 1, N, FLIP_SHARE)
    assert limit(N, 120) > limit(N, 1)


def test_on_another_kind_as_many_may_flip_as_the_rule_says_and_no_more(compare):
    allowed = limit(N, 10)
    assert 0 < allowed < N / 10
    within, beyond = (compare(outcome(flips=n), outcome(), groups=10) for n in (allowed, allowed + 1))
    assert (within.status, within.flipped) == (ROUNDING, allowed)
    assert (beyond.status, beyond.flipped) == (DIFFERS, allowed + 1)


def test_honest_flips_at_the_stated_share_raise_a_false_alarm_no_more_often_than_stated():
    """Simulated: 20,000 rechecks of 20 attacks; 1 in 1,000 is stated, and 45 alarms are 5.6 deviations above it."""
    draws = np.random.default_rng(0).binomial(N, FLIP_SHARE, size=(20_000, 20))
    assert (draws > limit(N, 20)).any(axis=1).sum() < 45


def test_the_same_image_flipped_to_another_wrong_class_is_no_flip_of_an_outcome_elsewhere(compare):
    theirs, ours = outcome(flips=50), outcome(flips=50)
    ours.prediction[:50] = 3
    assert compare(theirs, ours).status == EQUAL
    assert compare(theirs, ours, same_kind=True).status == DIFFERS


@pytest.mark.parametrize(
    ("theirs", "text"),
    [
        (outcome(first=7), "the images are not those of the data, first at image 0: recorded 7, run again 0"),
        (outcome(label=0), "the labels are not those of the data"),
        (outcome(attack="pgd"), "recorded attacks pgd; run again fgsm"),
    ],
)
def test_images_labels_and_attacks_are_compared_exactly_on_any_machine(compare, theirs, text):
    found = compare(theirs, outcome())
    assert found.status == DIFFERS
    assert text in found.differences[0]


@pytest.mark.parametrize(
    ("checks", "text"),
    [
        ({"fgsm": CHECKS["fgsm"]}, "checks of model: recorded none, run again zero_gradients"),
        ({**CHECKS, "model": {"zero_gradients": 0.5}}, "check zero_gradients of model: recorded 0.5, run again 0.0"),
        ({**CHECKS, "model": {"zero_gradients": None}}, "a check is no number"),
    ],
)
def test_checks_that_were_removed_or_changed_are_named(compare, checks, text):
    found = compare(outcome(), outcome(), checks=checks)
    assert found.status == DIFFERS
    assert text in found.differences[0]


def test_a_file_that_is_no_ledger_differs(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"PAR1")
    write_ledger(tmp_path / "b", [outcome().table()], checks=CHECKS)
    found = compare_ledgers(tmp_path / "a", tmp_path / "b", same_kind=True, groups=1)
    assert found.status == DIFFERS
