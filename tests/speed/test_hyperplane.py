"""FAB's projection: by hand, as the package's own, and where there is nothing or no way to go."""

from __future__ import annotations

import pytest
import torch
from pyautoattack import fab_base
from pyautoattack.fab_projections import projection_linf as by_sorting
from torch import Tensor

from robustft.speed import settled_images
from robustft.speed.hyperplane import projection_linf


def cases(pixels: int, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """Points with many pixels at an end, normals with zeros, and hyperplanes at a share of the way out of the cube."""
    draws = torch.Generator().manual_seed(pixels)
    points = torch.rand(40, pixels, generator=draws, dtype=torch.float64)
    points[torch.rand(40, pixels, generator=draws) < 0.3] = 0
    points[torch.rand(40, pixels, generator=draws) < 0.1] = 1
    normals = torch.randn(40, pixels, generator=draws, dtype=torch.float64)
    normals[torch.rand(40, pixels, generator=draws) < 0.2] = 0
    away = torch.where(torch.arange(40) % 2 == 0, share, -share) * normals.abs().sum(1)
    return points, normals, (normals * points).sum(1) + away


def test_by_hand():
    # Down along w = (2, -1): both move by 0.3 until 2 * 0.5 - 0.25 = 0.75 has fallen by 0.9; a third pixel has no say.
    points, normals = torch.tensor([[0.5, 0.25, 0.1]]), torch.tensor([[2.0, -1.0, 0.0]])
    step = projection_linf(points, normals, torch.tensor([-0.15]))
    torch.testing.assert_close(step, torch.tensor([[-0.3, 0.3, 0.0]]))
    # Further down the first pixel is at its end after 0.5, and the second goes on alone.
    step = projection_linf(points, normals, torch.tensor([-0.85]))
    torch.testing.assert_close(step, torch.tensor([[-0.5, 0.6, 0.0]]))


@pytest.mark.parametrize("pixels", [3, 64, 3072])
@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.1, 0.3, 0.6])
def test_it_is_the_packages_projection(pixels, share):
    points, normals, offsets = cases(pixels, share)
    ours, theirs = projection_linf(points, normals, offsets), by_sorting(points, normals, offsets)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5 if share else 1e-12)
    assert ((points + ours >= -1e-12) & (points + ours <= 1 + 1e-12)).all()


def test_a_hyperplane_out_of_reach_is_approached_as_far_as_the_cube_goes():
    points, normals, offsets = cases(64, 3.0)
    ours = projection_linf(points, normals, offsets)
    torch.testing.assert_close(ours, by_sorting(points, normals, offsets))
    moved = points + ours
    assert (((moved - moved.round()).abs() < 1e-12) | (normals == 0)).all()


def test_without_a_gradient_nothing_moves():
    points = torch.rand(2, 5)
    assert torch.equal(projection_linf(points, torch.zeros(2, 5), torch.tensor([0.0, 1.0])), torch.zeros(2, 5))


def test_one_row_does_not_depend_on_the_others():
    points, normals, offsets = cases(64, 0.1)
    whole = projection_linf(points, normals, offsets)
    torch.testing.assert_close(projection_linf(points[:1], normals[:1], offsets[:1]), whole[:1])


def test_the_package_has_its_own_projection_back_whatever_happens():
    def stopped() -> None:
        with settled_images._projecting():
            assert fab_base.projection_linf is projection_linf
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()
    assert fab_base.projection_linf is by_sorting
