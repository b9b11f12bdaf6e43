"""Intervals against values computed by hand."""

import numpy as np
import pytest

from robustft.report.intervals import (
    Interval,
    combined,
    difference,
    sampling_half_width,
    seed_half_width,
    value_interval,
)
from robustft.report.verdicts import judge_value


def test_independent_errors_add_in_squares_and_rounding_in_full():
    interval = combined(0.10, 0.03, 0.04, rounding=0.005)
    assert (interval.low, interval.high) == pytest.approx((0.10 - 0.055, 0.10 + 0.055))


def test_seed_half_width_by_hand():
    # sd of (1, 2, 3) is 1; t(2) = 4.30265; 4.30265 / sqrt(3)
    assert seed_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)


def test_difference_by_hand():
    left = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    right = np.array([[1, 0, 0, 0], [1, 0, 0, 0]], bool)
    interval = difference([(left, right)])
    # per seed: 2/4 and 1/4, mean 3/8; t(1) = 12.7062, sd = 0.25/sqrt 2, / sqrt 2 -> 12.7062 x 0.125
    # per image: 0, 1, 1/2, 0: mean .375, var = (.140625 + .390625 + .015625 + .140625)/3 = .229167; / 4
    seeds, images = 12.706205 * 0.125, 1.959964 * (0.2291667 / 4) ** 0.5
    assert interval.estimate == pytest.approx(0.375)
    assert interval.high - interval.estimate == pytest.approx((seeds**2 + images**2) ** 0.5, rel=1e-6)


def test_a_wide_interval_is_never_reproduced_however_close_its_middle():
    """The t-test's fault: with noisy replicates everything agrees with everything. Here it is inconclusive."""
    interval = one_value([0.50, 0.40, 0.60], images=10_000, published=0.50, decimals=2)
    assert judge_value(interval, margin=0.01) == "inconclusive"


def one_value(accuracies: list[float], *, images: int, published: float, decimals: int, there: int = 0) -> Interval:
    """The interval of a value on one data set."""
    return value_interval(
        [accuracies], images=[images], published=published, published_images=[there or images], decimals=decimals
    )


def test_sampling_by_hand():
    # 80 of 100: 82/104 = 0.788462, its variance 0.788462 x 0.211538 / 104 = 0.00160376, its root 0.0400470.
    assert sampling_half_width([0.8], [100]) == pytest.approx(1.959964 * 0.0400470, rel=1e-5)


def test_a_model_that_keeps_no_image_is_not_known_to_keep_none():
    """p(1 - p)/n is zero there, and an interval of no width once made such values certain."""
    # 0 of 100: 2/104 = 0.0192308; 0.0192308 x 0.9807692 / 104 = 0.000181355, its root 0.0134668.
    assert sampling_half_width([0.0], [100]) == pytest.approx(1.959964 * 0.0134668, rel=1e-5)


def test_sampling_of_an_average_weighs_data_sets_alike_not_images():
    """One pooled number of images made the average of a large and a small set as sure as the large one."""
    # 80 of 100 as above, 0.00160376, and half of 10,000: 0.25/10,004 = 0.0000249900; half the root of their sum.
    half = 1.959964 * (0.00160376 + 0.0000249900) ** 0.5 / 2
    assert sampling_half_width([0.8, 0.5], [100, 10_000]) == pytest.approx(half, rel=1e-5)


def test_value_interval_by_hand():
    interval = one_value([0.5, 0.5, 0.5], images=10_000, published=0.5, decimals=1)
    # no seed spread; sampling 1.959964 x 0.5/sqrt(10,004) on both sides; half a unit of 0.1 points is 0.0005
    assert interval.high == pytest.approx(1.959964 * 0.5 / 10_004**0.5 * 2**0.5 + 0.0005, rel=1e-6)


def test_value_interval_combines_seeds_both_samples_and_rounding_by_hand():
    # Seeds 0.58, 0.60, 0.62: mean 0.60, sd 0.02, t(2) = 4.302653: 4.302653 x 0.02/sqrt(3) = 0.0496828.
    # Here 600 of 1,000: 602/1,004 = 0.599602, 1.959964 x sqrt(0.599602 x 0.400398 / 1,004) = 0.0303081.
    # There 5,500 of 10,000: 5,502/10,004 = 0.549980, 1.959964 x sqrt(0.549980 x 0.450020 / 10,004) = 0.0097486.
    # Half of the last digit of 55.0 is 0.05 points. Root of the squares: 0.0590096; with rounding 0.0595096.
    interval = one_value([0.58, 0.60, 0.62], images=1_000, published=0.55, decimals=1, there=10_000)
    assert interval.estimate == pytest.approx(0.05)
    assert interval.high - interval.estimate == pytest.approx(0.0595096, abs=2e-6)


@pytest.mark.parametrize(("decimals", "rounding"), [(0, 0.005), (1, 0.0005), (2, 0.00005)])
def test_print_rounding_is_half_of_the_last_printed_digit(decimals, rounding):
    exact = one_value([0.5] * 3, images=100, published=0.5, decimals=12)
    printed = one_value([0.5] * 3, images=100, published=0.5, decimals=decimals)
    assert printed.high - exact.high == pytest.approx(rounding)


def test_a_difference_over_data_sets_is_the_mean_of_theirs_by_hand():
    """Images were once thrown together, so that the largest data set had its own way in an average over data sets."""
    small = (np.tile([1, 1, 1, 0], (2, 1)), np.tile([0, 0, 0, 0], (2, 1)))  # difference 3/4, sample variance 1/4
    large = (np.tile([0] * 16, (2, 1)), np.tile([1] * 4 + [0] * 12, (2, 1)))  # -1/4, 16/15 x 3/16 = 1/5
    interval = difference([small, large])
    assert interval.estimate == pytest.approx((0.75 - 0.25) / 2)
    # Within each set: (1/4)/4 and (1/5)/16; half the root of their sum. Seeds agree.
    half = 1.959964 * (1 / 16 + 1 / 80) ** 0.5 / 2
    assert interval.high - interval.estimate == pytest.approx(half, rel=1e-6)
