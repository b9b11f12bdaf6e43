"""Adv-SS-Pretraining's accuracies, with epochs as marker areas."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from robustft.report.figures import adv_ss_accuracy
from robustft.report.figures.step import Material

# method: (title, clean, robust, epochs or None), each the mean of two seeds one point apart.
ROWS = {
    "none": ("No pre-training: full, AT", 85, 47, 12.0),
    "selfie": ("Selfie (adversarial): full, AT", 86, 51, 4.0),
    "three": ("Ensemble of three", 86, 55, None),
}


def material(**changes) -> Material:
    measurements = [
        {"dataset": dataset, "method": method, "attack": attack, "seed": seed, "accuracy": (value + seed - 0.5) / 100}
        for dataset in ("digits",)
        for method, (_, clean, robust, _) in ROWS.items()
        for attack, value in (("clean", clean), ("pgd20_uniform", robust))
        for seed in (0, 1)
    ]
    epochs = [
        {"dataset": "digits", "method": method, "attack": "epochs_to_best", "mean": needed}
        for method, (_, _, _, needed) in ROWS.items()
        if needed is not None
    ]
    trained = [{"dataset": "digits", "method": m, "seed": s, "epoch": 1} for m in ("none", "selfie") for s in (0, 1)]
    values = {
        "history": pd.DataFrame(trained),
        "titles": {method: title for method, (title, *_) in ROWS.items()},
        "colors": {"none": "#000000", "selfie": "#0072B2", "three": "#B2182B"},
        "cells": pd.DataFrame(epochs),
        "measurements": pd.DataFrame(measurements),
        "order": list(ROWS),
        "columns": ["clean", "pgd20_uniform", "epochs_to_best"],
        "attacks": {"pgd20_uniform": "PGD-20"},
        "datasets": {"digits": "Digits"},
    }
    return Material(**{**values, **changes})


def test_areas_of_circles_are_in_the_ratio_of_epochs_and_the_ensemble_is_a_star():
    (axes,) = adv_ss_accuracy.draw(material(), title="A title").axes
    markers = [found for found in axes.collections if isinstance(found, PathCollection)]
    none, selfie, three = (marker.get_sizes()[0] for marker in markers)
    assert none / selfie == pytest.approx(3)
    assert three == adv_ss_accuracy.STAR
    corners = [len(marker.get_paths()[0].vertices) for marker in markers]
    assert corners[0] == corners[1] != corners[2]


def test_a_point_is_at_clean_and_robust_accuracy_in_percent():
    (axes,) = adv_ss_accuracy.draw(material(), title="A title").axes
    points = [found.get_offsets()[0].tolist() for found in axes.collections if isinstance(found, PathCollection)]
    assert points == [pytest.approx([85, 47]), pytest.approx([86, 51]), pytest.approx([86, 55])]
    assert axes.get_xlabel() == "Clean accuracy (%)"
    assert axes.get_title() == "Digits"


def test_the_legend_says_how_many_epochs():
    (axes,) = adv_ss_accuracy.draw(material(), title="A title").axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "No pre-training: full, AT (12.0 epochs)",
        "Selfie (adversarial): full, AT (4.0 epochs)",
        "Ensemble of three (not trained)",
    ]


def test_a_model_that_was_not_run_is_left_out():
    (axes,) = adv_ss_accuracy.draw(material(order=["none", "absent"]), title="A title").axes
    assert len(axes.get_legend().get_texts()) == 1


def test_equal_seeds_reach_nowhere_beyond_their_mean():
    """The mean of equal accuracies was rounded to below them, and the figure failed on a negative error bar."""
    for correct in range(97):
        values = pd.Series([100 * correct / 96] * 3)
        assert all(0 <= reach < 1e-9 for side in adv_ss_accuracy._spread(values) for reach in side)
    assert adv_ss_accuracy._spread(pd.Series([1.0, 2.0, 6.0])) == [[2.0], [3.0]]
