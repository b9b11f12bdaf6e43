from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from scipy.optimize import minimize

from robustft.attacks.threat import ThreatModel


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


def test_l1_projection_takes_the_same_from_each_pixel_until_the_length_is_eps():
    threat = ThreatModel("l1", Fraction(3, 10))
    x = image(0.5, 0.5, 0.5)
    # |delta| = (0.3, 0.2, 0.05): taking t = 0.1 of each leaves (0.2, 0.1, 0), of length 0.3.
    torch.testing.assert_close(threat.project(image(0.8, 0.3, 0.55), x), image(0.7, 0.4, 0.5), rtol=0, atol=1e-15)


def test_l1_projection_gives_what_does_not_fit_in_the_image_range_to_the_other_pixels():
    threat = ThreatModel("l1", Fraction(3, 10))
    x = image(0.9, 0.5, 0.5)
    # |delta| = (0.6, 0.3, 0.2) with room 0.1, 0.5, 0.5. Without the room t = 0.3 would leave (0.3, 0, 0), of which 0.1
    # fits. With it t = 0.15 leaves min(0.45, 0.1) + 0.15 + 0.05 = 0.3.
    torch.testing.assert_close(threat.project(image(1.5, 0.2, 0.7), x), image(1.0, 0.35, 0.55), rtol=0, atol=1e-15)


@pytest.mark.parametrize("point", [(0.8, 0.7), (0.55, 0.4), (0.5, 0.5)])  # at 0.5 (the surface), 0.15 and 0
def test_l1_projection_leaves_a_point_of_the_ball_where_it_is(point):
    threat = ThreatModel("l1", Fraction(1, 2))
    torch.testing.assert_close(threat.project(image(*point), image(0.5, 0.5)), image(*point), rtol=0, atol=1e-15)


def test_l1_projection_only_clips_when_the_whole_range_is_in_the_ball():
    threat = ThreatModel("l1", Fraction(9))
    torch.testing.assert_close(threat.project(image(3.0, -2.0), image(0.9, 0.4)), image(1.0, 0.0), rtol=0, atol=1e-15)


def test_l1_projection_to_an_empty_ball_is_the_image():
    x = torch.rand(3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = x + torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ThreatModel("l1", Fraction(0)).project(moved, x), x, rtol=0, atol=1e-15)


@pytest.mark.parametrize("eps", [Fraction(1, 5), Fraction(1)])
def test_l1_projection_finds_the_nearest_point_that_a_general_solver_finds(eps):
    draws = torch.Generator().manual_seed(3)
    x = torch.rand(1, 1, 1, 5, dtype=torch.float64, generator=draws)
    moved = x + torch.randn(x.shape, dtype=torch.float64, generator=draws)
    ours = ThreatModel("l1", eps).project(moved, x)
    base, goal = x.flatten().numpy(), moved.flatten().numpy()
    # Split into increases and decreases, so that the length is linear.
    found = minimize(
        lambda z: ((base + z[:5] - z[5:] - goal) ** 2).sum(),
        x0=[0.01] * 10,
        bounds=[(0, 1 - v) for v in base] + [(0, v) for v in base],
        constraints={"type": "ineq", "fun": lambda z: float(eps) - z.sum()},
        options={"ftol": 1e-12},
    )
    assert found.success
    assert ours.flatten().tolist() == pytest.approx(base + found.x[:5] - found.x[5:], abs=1e-5)
    assert ThreatModel("l1", eps).distance(ours, x).item() == pytest.approx(float(eps), abs=1e-14)


def test_l1_projection_in_single_precision_keeps_large_images_in_the_ball():
    draws = torch.Generator().manual_seed(0)
    x = torch.rand(4, 3, 32, 32, generator=draws)
    threat = ThreatModel("l1", Fraction(6))
    found = threat.project(x + 0.3 * torch.randn(x.shape, generator=draws), x)
    assert threat.distance(found, x).tolist() == pytest.approx([6.0] * 4, abs=1e-5)


def test_l1_ascent_moves_a_twentieth_of_the_pixels_that_have_the_largest_gradients():
    # 80 gradients 0, -1, 2, -3 and so on to -79; a twentieth of them are 4.
    gradient = (torch.arange(80, dtype=torch.float64) * torch.tensor([1.0, -1.0]).repeat(40)).view(1, 1, 8, 10)
    direction = ThreatModel("l1", Fraction(1)).ascend(gradient)
    expected = torch.zeros(80, dtype=torch.float64)
    expected[76:] = torch.tensor([0.25, -0.25, 0.25, -0.25])
    torch.testing.assert_close(direction.flatten(), expected, rtol=0, atol=1e-15)


def test_distance_by_hand_in_each_norm():
    x = torch.cat([image(0.2, 0.2), image(0.5, 0.5)])
    moved = torch.cat([image(0.5, -0.2), image(0.5, 0.5)])  # deltas (0.3, -0.4) and (0, 0)
    linf, l2, l1 = (ThreatModel(norm, Fraction(1)) for norm in ("linf", "l2", "l1"))
    torch.testing.assert_close(l1.distance(moved, x), torch.tensor([0.7, 0.0], dtype=torch.float64))
    torch.testing.assert_close(linf.distance(moved, x), torch.tensor([0.4, 0.0], dtype=torch.float64))
    torch.testing.assert_close(l2.distance(moved, x), torch.tensor([0.5, 0.0], dtype=torch.float64))


def test_ascent_direction_by_hand_in_each_norm():
    gradient = image(3.0, 0.0, -4.0)
    linf, l2, l1 = (ThreatModel(norm, Fraction(1)) for norm in ("linf", "l2", "l1"))
    torch.testing.assert_close(l1.ascend(gradient), image(0.0, 0.0, -1.0))
    torch.testing.assert_close(linf.ascend(gradient), image(1.0, 0.0, -1.0))
    torch.testing.assert_close(l2.ascend(gradient), image(0.6, 0.0, -0.8))  # (3, 0, -4) / 5


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_zero_gradient_gives_no_direction(norm):
    direction = ThreatModel(norm, Fraction(1)).ascend(torch.zeros(2, 1, 2, 2))
    assert torch.equal(direction, torch.zeros(2, 1, 2, 2))


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_uniform_noise_stays_in_the_ball_and_fills_it(norm):
    threat = ThreatModel(norm, Fraction(1, 10))
    x = torch.full((500, 1, 2, 2), 0.5, dtype=torch.float64)
    noise = threat.uniform(x, torch.Generator().manual_seed(0))
    size = threat.distance(x + noise, x)
    assert noise.shape == x.shape
    assert noise.dtype == x.dtype
    assert size.max() <= 0.1 + 1e-15
    # In 4 dimensions the share of the ball's volume within radius r is (r/eps)^4 for every norm, so the median size
    # is 0.1 * 0.5^(1/4) = 0.0841. Margin 0.1: by Hoeffding 500 draws stray further with probability below
    # 2 exp(-2 * 500 * 0.1^2) = 1e-4. (A radius drawn without the fourth root would give 0.84.)
    share = (size < 0.1 * 0.5**0.25).double().mean().item()
    assert abs(share - 0.5) < 0.1
    # Both signs in each pixel; margin 50 of 500, 4.5 standard deviations of a fair coin (sqrt(500)/2 = 11.2).
    positive = (noise > 0).flatten(1).sum(0)
    assert ((positive > 200) & (positive < 300)).all()


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
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


@pytest.mark.parametrize("norm", ["Linf", "l0", ""])
def test_an_unknown_norm_is_refused_by_name(norm):
    with pytest.raises(ValueError, match=r"linf.*l2.*l1"):
        ThreatModel(norm, Fraction(1, 10))


def test_a_negative_eps_is_refused():
    with pytest.raises(ValueError, match="negative"):
        ThreatModel("linf", Fraction(-1, 10))
