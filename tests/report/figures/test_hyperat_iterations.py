"""HyperAT's accuracy against epochs."""

from __future__ import annotations

import pandas as pd
import pytest

from robustft.report.figures.hyperat_iterations import draw
from robustft.report.figures.step import Material

TITLES = {"one": "LoRA", "two": "HyperAT", "absent": "Not run"}


@pytest.fixture
def panels():
    rows = [
        {"dataset": "d", "method": method, "seed": seed, "epoch": epoch,
         "robust_validation": 0.1 * epoch + 0.02 * seed, "clean_validation": 0.12 * epoch}
        for method in ("one", "two") for seed in (0, 1) for epoch in range(1, 5)
    ]  # fmt: skip
    colors = dict.fromkeys(TITLES, "#0072B2")
    return draw(Material(history=pd.DataFrame(rows), titles=TITLES, colors=colors, order=list(TITLES)), title="T").axes


def test_lines_are_means_over_seeds_in_percent_and_bands_their_range(panels):
    robust, clean = panels
    assert robust.lines[0].get_ydata().tolist() == pytest.approx([11.0, 21.0, 31.0, 41.0])
    assert clean.lines[1].get_ydata().tolist() == pytest.approx([12.0, 24.0, 36.0, 48.0])
    band = robust.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == pytest.approx((10, 42))


def test_methods_are_told_apart_without_colour_and_one_that_was_not_run_is_left_out(panels):
    robust, _ = panels
    first, second = robust.lines
    assert (first.get_marker(), first.get_linestyle()) != (second.get_marker(), second.get_linestyle())
    assert [text.get_text() for text in robust.figure.legends[0].get_texts()] == ["LoRA", "HyperAT"]
