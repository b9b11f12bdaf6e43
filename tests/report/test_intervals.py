"""Intervals and p-values against values worked out by hand."""

import math

import numpy as np
import pytest

from robustft.report.intervals import (
    Estimate,
    Seeds,
    average,
    images_paired,
    images_sampled,
    seeds_independent,
    seeds_needed,
)
from robustft.report.statistics import two_sided_t, two_sided_z

NONE = Seeds(0.0, 0)


def test_the_worked_example_of_an_ordering():
    """Left .60 .62 .64, right .55 .56 .57, 98 images, sums of the differences 5.88 and of their squares 14."""
    seeds = seeds_independent([0.60, 0.62, 0.64], [0.55, 0.56, 0.57])
    # sqrt((.02^2 + .01^2)/3) = .012910; 16/100 - (5.88/100)^2 = .156543, / 100, its root .039566.
    estimate = Estimate(0.06, seeds, images_paired(98, 5.88, 14.0))
    assert seeds == (pytest.approx(0.0129099, rel=1e-5), 4)
    assert estimate.images == pytest.approx(0.0395655, rel=1e-5)
    interval = estimate.interval()
    # sqrt((2.776445 x .012910)^2 + (1.959964 x .039566)^2) = .085430
    assert (interval.low, interval.high) == pytest.approx((0.06 - 0.085430, 0.06 + 0.085430), abs=1e-6)
    assert estimate.p() == pytest.approx(0.159, abs=5e-4)


def test_the_worked_example_of_a_published_value():
    """50.6 51.2 50.9 against 51.05: -.15 +- 1.495."""
    estimate = Estimate(-0.0015, seeds_independent([0.506, 0.512, 0.509], published_runs=1), rounding=0.00005)
    # 4.302653 x .003 x sqrt(1/3 + 1) + .00005
    assert estimate.half_width() == pytest.approx(0.014955, abs=5e-7)


def test_independent_errors_add_in_squares_and_rounding_in_full():
    z = two_sided_z(0.05)
    interval = Estimate(0.10, Seeds(0.03 / two_sided_t(2, 0.05), 2), 0.04 / z, rounding=0.005).interval()
    assert (interval.low, interval.high) == pytest.approx((0.10 - 0.055, 0.10 + 0.055))


# -- p-values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [0.3, 0.05, 1e-3, 1e-9])
def test_a_p_value_is_the_error_at_which_the_interval_reaches_zero(error):
    seeds, images = Seeds(0.02, 4), 0.03
    edge = math.hypot(two_sided_t(4, error) * 0.02, two_sided_z(error) * 0.03)
    assert Estimate(edge, seeds, images).p() == pytest.approx(error, rel=1e-6)
    assert Estimate(-edge, seeds, images).p() == pytest.approx(error, rel=1e-6)
    assert Estimate(edge + 0.01, seeds, images, rounding=0.01).p() == pytest.approx(error, rel=1e-6)


def test_of_seeds_alone_it_is_students_and_of_images_alone_the_normal_one():
    # Student: t = 2 with 4 degrees of freedom has p = .11612; z = 2 has p = .04550.
    assert Estimate(0.2, Seeds(0.1, 4)).p() == pytest.approx(0.11612, abs=1e-5)
    assert Estimate(0.2, NONE, 0.1).p() == pytest.approx(0.04550, abs=1e-5)


def test_no_difference_has_p_one_and_a_difference_without_any_error_p_zero():
    assert Estimate(0.0, Seeds(0.1, 4), 0.1).p() == 1.0
    assert Estimate(0.001, Seeds(0.1, 4), 0.1, rounding=0.002).p() == 1.0
    assert Estimate(0.1, NONE).p() == 0.0


# -- seeds -------------------------------------------------------------------------------------------------------------


def test_the_error_of_one_side_by_hand():
    # sd of (1, 2, 3) is 1, over sqrt 3, with two degrees of freedom: also that of paired differences.
    assert seeds_independent([1.0, 2.0, 3.0]) == (pytest.approx(1 / 3**0.5), 2)


def test_sides_with_unequal_numbers_of_seeds_by_hand():
    # Squares 2 and .5 with 2 + 1 degrees of freedom: 2.5/3; times 1/3 + 1/2.
    assert seeds_independent([1.0, 2.0, 3.0], [1.0, 2.0]) == (pytest.approx((2.5 / 3 * (1 / 3 + 1 / 2)) ** 0.5), 3)


def test_a_side_without_spread_is_no_sample():
    """Its two degrees of freedom made the other side's error look better known than it is."""
    assert seeds_independent([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) == seeds_independent([1.0, 2.0, 3.0])
    assert seeds_independent([5.0, 5.0, 5.0]) == NONE


def test_how_many_seeds_a_margin_needs():
    """Of a spread of .3 points three seeds leave 1.49 points, five .91."""
    seeds = seeds_independent([50.6, 51.2, 50.9], published_runs=1)
    assert two_sided_t(2, 0.05) * seeds.error == pytest.approx(1.49, abs=5e-3)
    assert two_sided_t(4, 0.05) * 0.3 * (1 / 5 + 1) ** 0.5 == pytest.approx(0.91, abs=5e-3)
    assert seeds_needed(seeds, 3, 1, 1.5) == 3
    assert seeds_needed(seeds, 3, 1, 1.0) == 5
    assert seeds_needed(seeds, 3, 1, 0.5) is None  # the one published run alone may be 1.96 x .3 = .59 off
    assert seeds_needed(seeds_independent([50.6, 51.2, 50.9], published_runs=5), 3, 5, 0.5) == 6


# -- images ------------------------------------------------------------------------------------------------------------


def test_models_that_agree_on_every_image_seen_are_not_known_to_agree_on_others():
    # Two images are added: 2/102 / 102.
    assert images_paired(100, 0.0, 0.0) == pytest.approx((2 / 102 / 102) ** 0.5)


def test_an_average_over_data_sets_weighs_them_alike_not_their_images():
    """Images were once thrown together, so that the largest data set had its own way in an average over data sets."""
    assert average([0.03, 0.04]) == pytest.approx(0.025)


def test_sampling_by_hand():
    # 80 of 100: 82/104 = 0.788462, its variance 0.788462 x 0.211538 / 104 = 0.00160376, its root 0.0400470.
    assert images_sampled(0.8, 100, math.inf) == pytest.approx(0.0400470, rel=1e-5)
    assert images_sampled(0.8, 100, 400) == pytest.approx(0.0400470 * 0.75**0.5, rel=1e-5)


def test_a_model_that_keeps_no_image_is_not_known_to_keep_none():
    """p(1 - p)/n is zero there, and an interval of no width once made such values certain."""
    # 0 of 100: 2/104 = 0.0192308; 0.0192308 x 0.9807692 / 104 = 0.000181355, its root 0.0134668.
    assert images_sampled(0.0, 100, math.inf) == pytest.approx(0.0134668, rel=1e-5)


def test_the_whole_test_set_is_no_sample():
    """The same 10,000 images counted as two samples."""
    assert images_sampled(0.5, 10_000, 10_000) == 0.0
    assert images_paired(10_000, 100.0, 200.0, 10_000) == 0.0


def test_the_spread_of_a_share_over_a_part_of_a_set_is_that_of_drawing_without_return():
    drawn = np.random.default_rng(0)
    whole = drawn.random(400) < 0.6
    shares = [drawn.choice(whole, 100, replace=False).mean() for _ in range(4000)]
    # The padding adds a little; the spread of 4,000 draws is known to about 1 %.
    assert np.std(shares) == pytest.approx(images_sampled(whole.mean(), 100, 400), rel=0.05)
