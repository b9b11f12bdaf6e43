"""TWINS's curves: norms of each wing, accuracies, and the fall since the best epoch."""

from __future__ import annotations

import pandas as pd
import pytest

from robustft.report.figures.step import Material
from robustft.report.figures.twins_diagnostics import draw

TITLES = {"at": "AT", "twins": "TWINS"}


@pytest.fixture
def axes():
    """Draw two methods of two seeds over three epochs."""
    rows = []
    for method, wings in (("at", ["all"]), ("twins", ["frozen", "adaptive"])):
        for seed in (0, 1):
            for epoch, robust in zip((1, 2, 3), (0.25, 0.5, 0.375), strict=True):
                row = {"dataset": "d", "method": method, "seed": seed, "epoch": epoch, "weight_norm": 10 * epoch + seed}
                for column, value in (("gradient_norm", 3.0), ("gradient_over_weight", 0.25), ("relative_step", 0.125)):
                    row |= {f"{column}/{wing}": value * (number + 1) for number, wing in enumerate(wings)}
                rows.append(row | {"robust_train": robust, "robust_test": robust + 0.125 * seed, "clean_test": 0.5})
    history = pd.DataFrame(rows)
    return draw(Material(history=history, titles=TITLES, colors=dict.fromkeys(TITLES, "#0072B2")), title="T").axes


def heights(panel) -> list[list[float]]:
    return [line.get_ydata().tolist() for line in panel.lines]


def test_weight_norms_and_accuracies_are_means_over_seeds(axes):
    assert heights(axes[0]) == [pytest.approx([10.5, 20.5, 30.5])] * 2
    assert heights(axes[4]) == [pytest.approx([25, 50, 37.5])] * 2  # robust accuracy on training images, in percent
    assert heights(axes[5]) == [pytest.approx([31.25, 56.25, 43.75])] * 2
    assert heights(axes[6]) == [[50, 50, 50]] * 2


def test_each_wing_that_a_method_logged_has_its_line_and_dash(axes):
    for panel, value in zip(axes[1:4], (3.0, 0.25, 0.125), strict=True):
        assert [line[0] for line in heights(panel)] == [value, value, 2 * value]
        assert panel.get_yscale() == "log"
    assert [line.get_label() for line in axes[1].lines] == ["AT", "TWINS, frozen wing", "TWINS, adaptive wing"]
    assert axes[1].lines[1].is_dashed()
    assert not axes[1].lines[2].is_dashed()


def test_the_fall_is_from_the_best_epoch_so_far_in_points(axes):
    assert heights(axes[7]) == [pytest.approx([0, 0, 12.5])] * 2
