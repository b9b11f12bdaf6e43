"""PMG-AFT's figures: what they average, and that they draw what was measured."""

from __future__ import annotations

import itertools
from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from robustft.report.figures import pmg_aft_accuracy, pmg_aft_trade_off
from robustft.report.figures.step import Material

METHODS = {"clip": "CLIP", "tecoa": "TeCoA"}
DATASETS = {"b": "Second set", "a": "First"}
ACCURACY = {"clean": 0.8, "pgd10_random": 0.4, "cw": 0.2}


@pytest.fixture
def material():
    rows = [
        {"method": method, "dataset": dataset, "seed": seed, "attack": attack, "accuracy": value + step}
        for method, shift in (("clip", 0.0), ("tecoa", -0.1))
        for dataset, offset in (("a", 0.0), ("b", 0.1))
        for seed in range(2)
        for attack, value in ACCURACY.items()
        for step in (shift + offset + 0.02 * seed,)
    ]
    # A data set that only one method was measured on must not move its average.
    rows.append({"method": "clip", "dataset": "c", "seed": 0, "attack": "clean", "accuracy": 0.0})
    return Material(
        history=pd.DataFrame(columns=["method"]),
        titles=METHODS,
        colors={"clip": "#000000", "tecoa": "#0072B2"},
        measurements=pd.DataFrame(rows),
        order=list(METHODS),
        columns=["clean", "pgd10_random", "cw"],
        attacks={"pgd10_random": "PGD-10 (random start)", "cw": "CW"},
        datasets={**DATASETS, "c": "Third"},
    )


def test_averages_by_hand(material):
    table = pmg_aft_accuracy.by_dataset(material, "clean")
    assert list(table.columns) == ["b", "a", "Average"]
    assert table.loc[("clip", 0)].tolist() == pytest.approx([90, 80, 85])
    assert table.loc[("tecoa", 1)].tolist() == pytest.approx([82, 72, 77])


def test_each_bar_is_the_mean_over_seeds(material):
    figure = pmg_aft_accuracy.draw(replace(material, columns=["clean", "pgd10_random"]), title="A title")
    clean, robust = figure.axes
    assert [bar.get_height() for bar in clean.containers[0]] == pytest.approx([91, 81, 86])
    assert [bar.get_height() for bar in robust.containers[1]] == pytest.approx([41, 31, 36])
    assert [tick.get_text() for tick in clean.get_xticklabels()] == ["Second\nset", "First", "Average"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["CLIP", "TeCoA"]
    places = sorted(bar.get_x() for container in clean.containers for bar in container)
    widths = {round(bar.get_width(), 9) for container in clean.containers for bar in container}
    assert len(widths) == 1
    assert min(b - a for a, b in itertools.pairwise(places)) >= min(widths) - 1e-9  # no bar hides another
    plt.close(figure)


def test_points_are_averages_and_open_ones_are_cw(material):
    figure = pmg_aft_trade_off.draw(material, title="A title")
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    where = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in points]
    assert where == [pytest.approx(xy) for xy in ((86, 46), (86, 26), (76, 36), (76, 16))]
    assert [line.get_markerfacecolor() for line in points] == ["#000000", "white", "#0072B2", "white"]
    plt.close(figure)
