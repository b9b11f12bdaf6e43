"""The statistics of the report against hand values."""

import pytest

from robustft.report.statistics import mean, sample_sd, student_t975, wilson


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


def test_student_t_from_the_table():
    assert student_t975(2) == pytest.approx(4.303, abs=5e-4)
    assert student_t975(9) == pytest.approx(2.262, abs=5e-4)
