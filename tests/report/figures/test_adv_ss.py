"""The two figures of Adv-SS-Pretraining: accuracies with epochs as marker areas, and who is vulnerable where."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.report.figures import adv_ss_accuracy, adv_ss_vulnerability
from robustft.report.figures.step import Material
from robustft.report.figures.style import save

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
        for attack, value in (("clean", clean), ("pgd20", robust))
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
        "columns": ["clean", "pgd20", "epochs_to_best"],
        "attacks": {"pgd20": "PGD-20"},
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


CLEAN = {"a": np.array([1, 1, 1, 0], bool), "b": np.array([1, 1, 1, 1], bool), "c": np.array([1, 1, 1, 1], bool)}
ROBUST = {"a": np.array([1, 0, 0, 0], bool), "b": np.array([0, 1, 0, 1], bool), "c": np.array([0, 0, 1, 1], bool)}


def test_shares_by_hand():
    # a loses images 1 and 2 (image 3 was wrong before), b loses 0 and 2, c loses 0 and 1.
    # Of a's losses b keeps image 1 and c image 2; of b's, a keeps 0 and c 2; of c's, a keeps 0 and b 1.
    quarters = [[2, 1, 1], [1, 2, 1], [1, 1, 2]]
    assert adv_ss_vulnerability.shares(CLEAN, ROBUST).tolist() == (np.array(quarters) / 4).tolist()
    assert adv_ss_vulnerability.kept_by_any(CLEAN, ROBUST, ["b", "c"]).tolist() == [2 / 4, 1 / 4, 1 / 4]


def test_equally_vulnerable_models_keep_nothing_for_each_other():
    same = {"a": CLEAN["a"], "b": CLEAN["a"]}
    robust = {"a": ROBUST["a"], "b": ROBUST["a"]}
    assert adv_ss_vulnerability.shares(same, robust).tolist() == [[0.5, 0], [0, 0.5]]


@pytest.fixture
def with_ledgers(tmp_path) -> Material:
    paths = {}
    for seed in (0, 1):
        for method in CLEAN:
            tables = []
            for attack, correct in (("clean", CLEAN[method]), ("pgd20", ROBUST[method])):
                order = np.array([3, 1, 0, 2]) if method == "b" else np.arange(4)  # ledgers need not be sorted
                label = np.zeros(4, dtype=np.int16)
                outcome = Outcome(
                    attack=attack,
                    image=order.astype(np.int32),
                    label=label,
                    prediction=(~correct[order]).astype(np.int16),
                    distance=np.zeros(4),
                    broken_by=np.array([""] * 4, dtype=object),
                )
                tables.append(outcome.table())
            path = tmp_path / f"{method}{seed}.parquet"
            write_ledger(path, tables, checks={})
            paths |= {(method, seed, "digits", attack): [path] for attack in ("clean", "pgd20")}
    history = pd.DataFrame([{"dataset": "digits", "method": m, "seed": s} for m in CLEAN for s in (0, 1)])
    titles = {"a": "No pre-training: full, AT", "b": "Selfie (adversarial): full, AT", "c": "Jigsaw (adversarial)"}
    return material(history=history, titles=titles, order=list(CLEAN), ledgers=paths, columns=["clean", "pgd20"])


def test_the_matrix_is_read_from_the_ledgers(with_ledgers):
    (axes,) = adv_ss_vulnerability.draw(with_ledgers, title="A title").axes
    assert [text.get_text() for text in axes.texts] == [
        "50.0", "25.0", "25.0", "50.0",
        "25.0", "50.0", "25.0", "25.0",
        "25.0", "25.0", "50.0", "25.0",
    ]  # fmt: skip
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        "No pre-training",
        "Selfie",
        "Jigsaw",
        "any pre-trained",
    ]


def test_equal_material_gives_equal_files(with_ledgers, tmp_path):
    for name, draw in (("accuracy", adv_ss_accuracy.draw), ("vulnerability", adv_ss_vulnerability.draw)):
        used = with_ledgers if name == "vulnerability" else material()
        for number in (1, 2):
            paths = {kind: tmp_path / f"{name}{number}.{kind}" for kind in ("svg", "pdf")}
            save(draw(used, title="A title"), **paths)
        for kind in ("svg", "pdf"):
            assert (tmp_path / f"{name}1.{kind}").read_bytes() == (tmp_path / f"{name}2.{kind}").read_bytes()


def test_equal_seeds_reach_nowhere_beyond_their_mean():
    """The mean of equal accuracies was rounded to below them, and the figure failed on a negative error bar."""
    for correct in range(97):
        values = pd.Series([100 * correct / 96] * 3)
        assert all(0 <= reach < 1e-9 for side in adv_ss_accuracy._spread(values) for reach in side)
    assert adv_ss_accuracy._spread(pd.Series([1.0, 2.0, 6.0])) == [[2.0], [3.0]]
