"""The statistics of the report against hand values."""

import math

import pytest

from robustft.report.statistics import binomial_limit, holm, mean, sample_sd, two_sided_t, two_sided_z, wilson


def test_wilson_by_hand():
    # 8 of 10, z = 2: centre (0.8 + 4/20) / (1 + 4/10) = 1.0/1.4; half 2 sqrt(0.016 + 4/400) / 1.4 = 2 sqrt(.026)/1.4
    low, high = wilson(8, 10, z=2.0)
    assert low == pytest.approx(1.0 / 1.4 - 2 * 0.026**0.5 / 1.4)
    assert high == pytest.approx(1.0 / 1.4 + 2 * 0.026**0.5 / 1.4)


def test_wilson_stays_within_zero_and_one():
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == 1.0


def test_mean_and_sample_sd_by_hand():
    assert mean([1.0, 2.0, 6.0]) == 3.0
    # ((1-3)^2 + (2-3)^2 + (6-3)^2) / 2 = (4 + 1 + 9) / 2 = 7
    assert sample_sd([1.0, 2.0, 6.0]) == pytest.approx(7**0.5)
    assert sample_sd([1.0]) is None


def test_wilson_of_a_model_that_may_be_guessing():
    """Of five classes: 12 of 64 may be guessing, 21 of 64 is better."""
    assert wilson(12, 64)[0] == pytest.approx(0.111, abs=5e-4)
    assert wilson(21, 64)[0] == pytest.approx(0.226, abs=5e-4)


def test_student_and_normal_from_the_tables():
    assert two_sided_t(2, 0.05) == pytest.approx(4.303, abs=5e-4)
    assert two_sided_t(9, 0.05) == pytest.approx(2.262, abs=5e-4)
    assert two_sided_z(0.05) == pytest.approx(1.960, abs=5e-4)


def test_binomial_limit_by_hand():
    # Four coins: P(more than 3 heads) = 1/16, P(more than 2) = 5/16.
    assert [binomial_limit(4, 1 / 2, error) for error in (0.01, 0.07, 0.32, 1.0)] == [4, 3, 2, 0]
    assert binomial_limit(0, 1 / 2, 0.01) == 0


@pytest.mark.parametrize(("trials", "share"), [(64, 0.004), (64, 0.05), (10_000, 0.002), (300, 0.5)])
def test_beyond_the_binomial_limit_is_as_rare_as_it_says_and_no_rarer_than_it_must(trials, share):
    limit = binomial_limit(trials, share, 0.01)
    logs = [math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in range(trials + 1)]
    terms = [math.exp(c + k * math.log(share) + (trials - k) * math.log1p(-share)) for k, c in enumerate(logs)]
    assert math.fsum(terms[limit + 1 :]) <= 0.01 < math.fsum(terms[limit:])


def test_holm_by_hand():
    assert holm([0.001, 0.012, 0.02, 0.04, 0.3]) == pytest.approx([0.005, 0.048, 0.06, 0.08, 0.3])
    assert holm([0.3, 0.001, 0.04, 0.02, 0.012]) == pytest.approx([0.3, 0.005, 0.08, 0.06, 0.048])
    assert holm([0.02, 0.015]) == pytest.approx([0.03, 0.03])  # none gets smaller than the one before it
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
