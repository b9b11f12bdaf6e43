"""ADAPT's figure: the gap between the attacks that do not and that do see the prompts."""

from __future__ import annotations

import pandas as pd
import pytest

from robustft.report.figures.adapt_gap import draw
from robustft.report.figures.step import Material

# method: (title, adaptive, traditional, clean), each the mean of two seeds one point apart.
ROWS = {
    "standard": ("Standard", 4, 4, 81),
    "at": ("AT", 38, 38, 55),
    "standard_pt": ("Standard, PT", 3, 9, 70),
    "at_pt": ("AT, PT", 12, 52, 57),
    "adapt_ce_pt": ("ADAPT-CE, PT", 31, 35, 56),
    "at_deep": ("AT, deep PT", 2, 61, 56),
    "adapt_ce_deep": ("ADAPT-CE, deep PT", 33, 36, 46),
}


def material(datasets=("digits",)) -> Material:
    attacks = ("pgd10_adaptive", "pgd10_traditional", "clean")
    rows = [
        {"dataset": dataset, "method": method, "attack": attack, "seed": seed, "accuracy": (value + seed - 0.5) / 100}
        for dataset in datasets
        for method, (_, *values) in ROWS.items()
        for attack, value in zip(attacks, values, strict=True)
        for seed in (0, 1)
    ]
    return Material(
        history=pd.DataFrame(columns=["method"]),
        titles={method: title for method, (title, *_) in ROWS.items()},
        colors=dict.fromkeys(ROWS, "#0072B2"),
        cells=pd.DataFrame([{"dataset": dataset, "method": method} for dataset in datasets for method in ROWS]),
        measurements=pd.DataFrame(rows),
        order=list(ROWS),
        columns=["clean", "pgd10_traditional", "pgd10_adaptive"],
        datasets={dataset: dataset.upper() for dataset in datasets},
    )


def texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_there_is_a_panel_for_each_tuning_and_a_line_for_each_objective():
    figure = draw(material(), title="A title")
    assert [axes.get_title() for axes in figure.axes] == [
        "Full fine-tuning",
        "Prompt tuning",
        "Deep prompt tuning",
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["Standard", "AT", "ADAPT-CE"]


def test_the_gap_is_traditional_minus_adaptive_in_points():
    full, shallow, deep = draw(material(), title="A title").axes
    assert texts(full) == ["+0", "+0", "gap"]
    assert texts(shallow) == ["+6", "+40", "+4", "gap"]
    assert texts(deep) == ["+59", "+3", "gap"]


def test_means_lie_on_the_line_of_their_objective():
    deep = draw(material(), title="A title").axes[2]
    dots = [(line.get_xdata()[0], line.get_ydata()[0]) for line in deep.lines if line.get_marker() == "o"]
    assert dots == [pytest.approx(dot) for dot in [(2, 1), (61, 1), (33, 2), (36, 2)]]


def test_each_data_set_has_its_row_and_says_so():
    figure = draw(material(datasets=("one", "two")), title="A title")
    assert [axes.get_title() for axes in figure.axes][::3] == ["Full fine-tuning, ONE", "Full fine-tuning, TWO"]
