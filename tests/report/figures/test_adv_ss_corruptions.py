"""The radar of corruptions: clean, robust and each type of corruption on one circle, the published models beside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from robustft.report.figures import adv_ss_corruptions
from robustft.report.figures.step import Material

CORRUPTED = {"digits_fog": "Fog", "digits_frost": "Frost"}


def radar(**changes) -> Material:
    def cell(method, dataset, attack, mean):
        return {"trained_on": "digits", "dataset": dataset, "method": method, "attack": attack, "mean": mean}

    cells = [
        cell("at", "digits", "clean", 0.8),
        cell("at", "digits", "pgd20_uniform", 0.5),
        cell("selfie", "digits", "clean", 0.9),
    ]
    corrupted = [
        cell("at", "digits_frost", "clean", 0.7),
        cell("at", "digits_fog", "clean", 0.6),
        cell("selfie", "digits_fog", "clean", 0.65),
    ]
    return Material(
        history=pd.DataFrame(columns=["method"]),
        titles={"at": "AT", "selfie": "Selfie"},
        colors={"at": "#000000", "selfie": "#0072B2"},
        cells=pd.DataFrame(cells),
        elsewhere=pd.DataFrame(corrupted),
        order=["at", "selfie"],
        datasets={"digits": "Digits", **CORRUPTED},
        **changes,
    )


def test_the_radars_axes_are_clean_robust_and_each_corruption_in_the_order_of_the_evaluation():
    assert list(adv_ss_corruptions.axes_of(radar(), "digits").values()) == ["Clean", "PGD-20", "Fog", "Frost"]
    (axes,) = adv_ss_corruptions.draw(radar(), title="A title").axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Clean", "PGD-20", "Fog", "Frost"]


def test_each_model_has_a_closed_line_with_a_gap_where_it_was_not_measured():
    (axes,) = adv_ss_corruptions.draw(radar(), title="A title").axes
    at, selfie = (line.get_ydata() for line in axes.lines)
    assert list(at) == pytest.approx([80, 50, 60, 70, 80])
    assert list(selfie) == pytest.approx([90, np.nan, 65, np.nan, 90], nan_ok=True)


def test_published_models_are_drawn_on_the_same_axes_under_their_own_name():
    published = pd.DataFrame(
        [
            {"metric": "clean", "method": "selfie", "column": "digits", "value": 86.0},
            {"metric": "pgd20_uniform", "method": "selfie", "column": "digits", "value": 51.0},
            {"metric": "clean", "method": "selfie", "column": "digits_fog", "value": 60.0},
            {"metric": "clean", "method": "Baseline", "column": "digits_frost", "value": 69.0},
        ]
    )
    (axes,) = adv_ss_corruptions.draw(radar(published=published), title="A title").axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["AT", "Selfie", "Selfie, published", "Baseline, published"]
    assert list(axes.lines[2].get_ydata()) == pytest.approx([86, 51, 60, np.nan, 86], nan_ok=True)
    assert axes.lines[2].get_color() == axes.lines[1].get_color()
