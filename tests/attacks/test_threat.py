from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from pipeline.attacks.threat import ThreatModel


def image(*values: float) -> torch.Tensor:
    """One image of as many pixels as values, in float64."""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def test_linf_projection_cuts_each_pixel_to_eps_and_then_to_the_image_range():
    threat = ThreatModel("linf", Fraction(1, 10))
    x = image(0.5, 0.5, 0.5, 0.95, 0.05)
    moved = image(0.7, 0.55, 0.3, 1.2, -0.3)
    # 0.5+0.1; inside, unchanged; 0.5-0.1; min(0.95+0.1, 1); max(0.05-0.1, 0)
    expected = image(0.6, 0.55, 0.4, 1.0, 0.0)
    torch.testing.assert_close(threat.project(moved, x), expected, rtol=0, atol=1e-15)


def test_l2_projection_scales_the_perturbation_to_length_eps():
    threat = ThreatModel("l2", Fraction(1, 10))
    x = image(0.5, 0.5)
    # delta = (0.3, -0.4), length 0.5; 0.1/0.5 = 0.2 of it is (0.06, -0.08).
    torch.testing.assert_close(threat.project(image(0.8, 0.1), x), image(0.56, 0.42), rtol=0, atol=1e-15)


@pytest.mark.parametrize("point", [(0.8, 0.9), (0.53, 0.46), (0.5, 0.5)])  # at 0.5 (the sphere), 0.05 and 0
def test_l2_projection_leaves_a_point_of_the_ball_where_it_is(point):
    threat = ThreatModel("l2", Fraction(1, 2))
    torch.testing.assert_close(threat.project(image(*point), image(0.5, 0.5)), image(*point), rtol=0, atol=1e-15)


def test_l2_projection_clips_to_the_image_range_after_scaling():
    threat = ThreatModel("l2", Fraction(1))
    # delta = (3, -4), length 5, scaled to (0.6, -0.8): 0.9 + 0.6 -> 1, 0.9 - 0.8 = 0.1.
    torch.testing.assert_close(threat.project(image(3.9, -3.1), image(0.9, 0.9)), image(1.0, 0.1), rtol=0, atol=1e-15)


def test_l2_projection_treats_each_image_by_itself():
    threat = ThreatModel("l2", Fraction(1, 10))
    x = torch.cat([image(0.5, 0.5), image(0.5, 0.5)])
    moved = torch.cat([image(0.8, 0.1), image(0.53, 0.46)])  # lengths 0.5 (cut) and 0.05 (kept)
    expected = torch.cat([image(0.56, 0.42), image(0.53, 0.46)])
    torch.testing.assert_close(threat.project(moved, x), expected, rtol=0, atol=1e-15)


def test_distance_by_hand_in_each_norm():
    x = torch.cat([image(0.2, 0.2), image(0.5, 0.5)])
    moved = torch.cat([image(0.5, -0.2), image(0.5, 0.5)])  # deltas (0.3, -0.4) and (0, 0)
    linf, l2 = ThreatModel("linf", Fraction(1)), ThreatModel("l2", Fraction(1))
    torch.testing.assert_close(linf.distance(moved, x), torch.tensor([0.4, 0.0], dtype=torch.float64))
    torch.testing.assert_close(l2.distance(moved, x), torch.tensor([0.5, 0.0], dtype=torch.float64))


def test_ascent_direction_by_hand_in_each_norm():
    gradient = image(3.0, 0.0, -4.0)
    linf, l2 = ThreatModel("linf", Fraction(1)), ThreatModel("l2", Fraction(1))
    torch.testing.assert_close(linf.ascend(gradient), image(1.0, 0.0, -1.0))
    torch.testing.assert_close(l2.ascend(gradient), image(0.6, 0.0, -0.8))  # (3, 0, -4) / 5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_zero_gradient_gives_no_direction(norm):
    direction = ThreatModel(norm, Fraction(1)).ascend(torch.zeros(2, 1, 2, 2))
    assert torch.equal(direction, torch.zeros(2, 1, 2, 2))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_uniform_noise_stays_in_the_ball_and_fills_it(norm):
    threat = ThreatModel(norm, Fraction(1, 10))
    x = torch.full((500, 1, 2, 2), 0.5, dtype=torch.float64)
    noise = threat.uniform(x, torch.Generator().manual_seed(0))
    size = threat.distance(x + noise, x)
    assert noise.shape == x.shape
    assert noise.dtype == x.dtype
    assert size.max() <= 0.1 + 1e-15
    # In 4 dimensions the share of the ball's volume within radius r is (r/eps)^4 for both norms, so the median size
    # is 0.1 * 0.5^(1/4) = 0.0841. Margin 0.1: by Hoeffding 500 draws stray further with probability below
    # 2 exp(-2 * 500 * 0.1^2) = 1e-4. (A radius drawn without the fourth root would give 0.84.)
    share = (size < 0.1 * 0.5**0.25).double().mean().item()
    assert abs(share - 0.5) < 0.1
    # Both signs in each pixel; margin 50 of 500, 4.5 standard deviations of a fair coin (sqrt(500)/2 = 11.2).
    positive = (noise > 0).flatten(1).sum(0)
    assert ((positive > 200) & (positive < 300)).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_uniform_noise_is_a_function_of_the_generator(norm):
    threat = ThreatModel(norm, Fraction(1, 10))
    x = torch.rand(4, 1, 3, 3)
    one, same, other = (threat.uniform(x, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("written", ["8/255", Fraction(8, 255)])
def test_eps_is_kept_as_the_exact_fraction(written):
    threat = ThreatModel.of({"norm": "linf", "eps": written})
    assert threat.eps == Fraction(8, 255)
    assert isinstance(threat.eps, Fraction)
    assert str(threat) == "linf eps 8/255"
    assert threat == ThreatModel("linf", Fraction(16, 510))


def test_eps_written_as_a_decimal_is_that_decimal_and_not_its_float():
    # float 0.1 is 3602879701896397/36028797018963968.
    assert ThreatModel.of({"norm": "linf", "eps": 0.1}).eps == Fraction(1, 10)
    assert ThreatModel.of({"norm": "linf", "eps": "0.0314"}).eps == Fraction(157, 5000)


@pytest.mark.parametrize("norm", ["Linf", "l1", ""])
def test_an_unknown_norm_is_refused_by_name(norm):
    with pytest.raises(ValueError, match=r"linf.*l2"):
        ThreatModel(norm, Fraction(1, 10))


def test_a_negative_eps_is_refused():
    with pytest.raises(ValueError, match="negative"):
        ThreatModel("linf", Fraction(-1, 10))
