"""PMG-AFT's bars: what they average, and that they draw what was measured."""

import itertools
from dataclasses import replace

import pytest

from robustft.report.figures.pmg_aft_accuracy import by_dataset, draw

SHOWN = ["clean", "pgd10_random"]


def test_averages_by_hand(zero_shot):
    table = by_dataset(zero_shot, "clean")
    assert list(table.columns) == ["b", "a", "Average"]
    assert table.loc[("clip", 0)].tolist() == pytest.approx([90, 80, 85])
    assert table.loc[("tecoa", 1)].tolist() == pytest.approx([82, 72, 77])


def test_each_bar_is_the_mean_over_seeds(zero_shot):
    figure = draw(replace(zero_shot, columns=SHOWN), title="A title")
    clean, robust = figure.axes
    assert [bar.get_height() for bar in clean.containers[0]] == pytest.approx([91, 81, 86])
    assert [bar.get_height() for bar in robust.containers[1]] == pytest.approx([41, 31, 36])
    assert [tick.get_text() for tick in clean.get_xticklabels()] == ["Second\nset", "First", "Average"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["CLIP", "TeCoA"]
    places = sorted(bar.get_x() for container in clean.containers for bar in container)
    widths = {round(bar.get_width(), 9) for container in clean.containers for bar in container}
    assert len(widths) == 1
    assert min(b - a for a, b in itertools.pairwise(places)) >= min(widths) - 1e-9  # no bar hides another


def test_a_method_that_was_not_run_has_no_bars(zero_shot):
    titles, order = {**zero_shot.titles, "absent": "A"}, ["absent", *zero_shot.order]
    clean, _ = draw(replace(zero_shot, titles=titles, order=order, columns=SHOWN), title="A title").axes
    assert [container.get_label() for container in clean.containers] == ["CLIP", "TeCoA"]
