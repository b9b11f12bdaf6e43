"""ADAPT's figure of losses: a panel for each method, a line for each direction, the published ones beside."""

from __future__ import annotations

import pandas as pd
import pytest

from robustft.report.figures.adapt_losses import DIRECTIONS, curve, draw
from robustft.report.figures.step import Material

MULTIPLES = (0.0, 1.0, 2.0)
# method: losses at the multiples along the traditional and the adaptive direction, of seed 0; seed 1 has one more.
ROWS = {"at_pt": ((0.2, 0.4, 0.8), (0.2, 8.5, 9.4)), "adapt_ce_pt": ((0.7, 0.8, 0.9), (0.7, 1.7, 2.9))}


def history(datasets) -> pd.DataFrame:
    rows = []
    for dataset in datasets:
        for method, losses in ROWS.items():
            for seed in (0, 1):
                row = {"dataset": dataset, "method": method, "seed": seed}
                rows.append(row | {"epoch": 1})  # losses are of the last epoch only
                for attack, values in zip(DIRECTIONS, losses, strict=True):
                    row |= {f"loss_along/{attack}/{m:g}": v + seed for m, v in zip(MULTIPLES, values, strict=True)}
                rows.append(row | {"epoch": 2})
    rows.append({"dataset": datasets[0], "method": "standard", "seed": 0, "epoch": 1})
    return pd.DataFrame(rows)


def material(datasets=("digits",), **changes) -> Material:
    return Material(
        history=history(datasets),
        titles={"at_pt": "AT, PT", "adapt_ce_pt": "ADAPT-CE, PT", "standard": "Standard"},
        colors={},
        order=["at_pt", "adapt_ce_pt", "standard"],
        datasets={dataset: dataset.upper() for dataset in datasets},
        **changes,
    )


def lines(axes) -> list[list[float]]:
    return [pytest.approx(line.get_ydata()) for line in axes.lines if len(line.get_ydata()) == len(MULTIPLES)]


def test_a_curve_has_mean_and_range_over_seeds_at_each_multiple():
    losses = curve(material(), "digits", "at_pt", "pgd10_adaptive")
    assert losses.index.tolist() == [0.0, 1.0, 2.0]
    assert losses.loc[1.0].tolist() == pytest.approx([9.0, 8.5, 9.5])


def test_there_is_a_panel_for_each_method_with_losses_and_a_line_for_each_direction():
    figure = draw(material(), title="A title")
    assert [axes.get_title() for axes in figure.axes] == ["AT, PT", "ADAPT-CE, PT"]
    at, adapt = figure.axes
    assert lines(at) == [[0.7, 0.9, 1.3], [0.7, 9.0, 9.9]]
    assert lines(adapt) == [[1.2, 1.3, 1.4], [1.2, 2.2, 3.4]]


def test_each_data_set_has_its_row_and_says_so():
    figure = draw(material(("one", "two")), title="A title")
    assert [axes.get_title().split("\n")[1] for axes in figure.axes] == ["ONE", "ONE", "TWO", "TWO"]


def test_published_losses_are_drawn_in_the_panel_of_their_method_only():
    published = pd.DataFrame(
        [
            {"metric": "pgd10_adaptive", "method": "at_pt", "column": column, "value": value}
            for column, value in (("1.00", 8.54), ("0.00", 0.2), ("2.00", 9.39))
        ]
    )
    figure = draw(material(published=published), title="A title")
    at, adapt = figure.axes
    assert lines(at) == [[0.7, 0.9, 1.3], [0.7, 9.0, 9.9], [0.2, 8.54, 9.39]]
    assert len(lines(adapt)) == 2
    texts = [text.get_text() for text in figure.legends[0].texts]
    assert texts[-1] == "published, read off a plot"


def test_without_published_values_the_legend_speaks_of_none():
    assert len(draw(material(), title="A title").legends[0].texts) == 2
