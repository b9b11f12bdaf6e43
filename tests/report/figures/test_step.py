"""Figures: drawn from histories, numbers and ledgers; equal bytes for equal data."""

import json
import re
from importlib import import_module
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.report import figures
from robustft.report.figures.step import Material, figure
from robustft.runtime.context import Context

METHODS = {"at": "AT", "twins_at": "TWINS-AT", "merged": "Merged", "other": "Another"}


def cell(method: str, attack: str = "clean", *, experiment: str = "main", dataset: str = "d", **more) -> dict:
    measured = {"transfer_eval": False, "evaluation": "robustness", "split": "test"}
    if attack == "epochs_to_best":
        measured |= {"evaluation": None, "split": None}
    key = {"experiment": experiment, "dataset": dataset, "method": method, "attack": attack, **measured}
    return {**key, "mean": 0.5, "sd": 0.1, "unit": "share", "seeds": [0, 1], "images": 10, "failed_checks": [], **more}


def measurement(method: str, seed: int, accuracy: float, *, experiment: str = "main") -> dict:
    key = {"experiment": experiment, "dataset": "d", "method": method, "seed": seed, "attack": "clean"}
    key |= {"transfer_eval": False, "evaluation": "robustness", "split": "test"}
    return {**key, "accuracy": accuracy, "images": 10, "interval": [0.0, 1.0]}


NUMBERS = {
    "cells": [
        cell("merged"),
        cell("at"),
        cell("at", "epochs_to_best", unit="epochs", mean=3.0),
        cell("twins_at", dataset="e", seeds=[0, 1, 2]),
        cell("other"),
        cell("at", experiment="control", seeds=[9], dataset="z"),
    ],
    "measurements": [
        measurement("at", 0, 0.25),
        measurement("other", 0, 0.75),
        measurement("at", 0, 0.99, experiment="control"),
    ],
}


def outcome(attack: str, correct: list[int], *, first: int = 0) -> Outcome:
    n = len(correct)
    prediction = np.array([0 if c else 1 for c in correct], np.int16)
    image, none = np.arange(first, first + n, dtype=np.int32), np.array([""] * n, dtype=object)
    return Outcome(attack, image, np.zeros(n, np.int16), prediction, np.zeros(n), none)


@pytest.fixture
def drawn(tmp_path):
    """Draw a figure of two trained methods and a derived one, from histories, numbers and two ledgers."""
    inputs, members = {"numbers": tmp_path / "numbers.json"}, []
    inputs["numbers"].write_text(json.dumps(NUMBERS))
    for method, groups in (("at", ["all"]), ("twins_at", ["frozen", "adaptive"])):
        for seed in range(2):
            rng = np.random.default_rng(seed)
            rows = pd.DataFrame({"epoch": range(1, 6), "weight_norm": rng.random(5) + 9})
            for group in groups:
                for column in ("gradient_norm", "gradient_over_weight", "relative_step"):
                    rows[f"{column}/{group}"] = rng.random(5) + 0.1
            for column in ("robust_train", "robust_test", "clean_test"):
                rows[column] = rng.random(5)
            path = tmp_path / f"{method}{seed}.csv"
            rows.to_csv(path, index=False)
            inputs[f"{method}{seed}"] = path
            members.append({"history": f"{method}{seed}", "dataset": "d", "method": method, "seed": seed})
    ledgers = []
    for name, dataset, correct, first in (("l1", "d", [1, 0], 0), ("l2", "d", [1, 1], 2), ("l3", "e", [0], 0)):
        inputs[name] = tmp_path / name
        write_ledger(inputs[name], [outcome("clean", correct, first=first).table()], checks={})
        ledgers.append({"ledger": name, "evaluation": "robustness", "dataset": dataset, "method": "at", "seed": 0})
    about = {"name": "f", "title": "A title", "caption": "A caption.", "methods": ["twins_at", "at", "merged", "unrun"]}
    about |= {"kind": "robustft.report.figures.twins_diagnostics:draw", "experiment": "main"}
    about["columns"] = ["clean", "epochs_to_best"]
    spec = {
        "scale": "demo",
        "reproduces": False,
        "shown": {"clean": {"evaluation": "robustness", "split": "test"}},
        "methods": METHODS,
        "members": members,
        "figure": about,
    }
    spec |= {"colors": {"at": "#0072B2", "twins_at": "#D55E00", "merged": "#000000"}, "ledgers": ledgers}
    spec |= {"attacks": {"clean": "Clean"}, "datasets": {"d": "Dogs", "e": "Elephants"}}

    def draw(folder: str, **changes):
        (tmp_path / folder).mkdir()
        outputs = {role: tmp_path / folder / f"f.{role}" for role in ("svg", "pdf", "caption")}
        figure({**spec, "figure": {**about, **changes}}, Context(inputs, outputs, tmp_path))
        return outputs

    return draw


GIVEN: list[Material] = []


def kept(material, *, title):
    """A figure that shows nothing but keeps what it was given."""
    GIVEN.append(material)
    return plt.figure()


@pytest.fixture
def material(drawn) -> Material:
    GIVEN.clear()
    drawn("kept", kind=f"{__name__}:kept")
    (found,) = GIVEN
    return found


def test_a_figure_is_given_the_history_of_trained_runs(material):
    found = material.history
    assert set(zip(found["method"], found["seed"], strict=True)) == {(m, s) for m in ("at", "twins_at") for s in (0, 1)}
    assert set(found["dataset"]) == {"d"}
    assert len(found) == 20
    assert list(material.summary("at", "weight_norm").columns) == ["mean", "min", "max"]
    assert material.summary("at", "never_logged").empty


def test_a_figure_is_given_the_numbers_of_its_experiment_and_methods_only(material):
    assert sorted(set(material.cells["method"])) == ["at", "merged", "twins_at"]
    assert "z" not in set(material.cells["dataset"])
    assert material.measurements["accuracy"].tolist() == [0.25]
    epochs = material.cells[material.cells["attack"] == "epochs_to_best"]
    assert (epochs["mean"].tolist(), epochs["unit"].tolist()) == ([3.0], ["epochs"])


def test_a_figure_shows_one_evaluation_of_each_attack(drawn, monkeypatch):
    """Two evaluations of one attack, on validation and on test images, were once averaged in a bar."""
    select = {"evaluation": "select", "split": "validation"}
    of_validation = [{**one, **select, "mean": 0.75} for one in NUMBERS["cells"] if one["attack"] == "clean"]
    monkeypatch.setitem(NUMBERS, "cells", [*of_validation, *NUMBERS["cells"]])
    GIVEN.clear()
    drawn("one", kind=f"{__name__}:kept")
    clean = GIVEN[0].cells[GIVEN[0].cells["attack"] == "clean"]
    assert set(clean["split"]) == {"test"}
    assert set(clean["mean"]) == {0.5}


def test_a_figures_methods_are_in_its_own_order_derived_ones_among_them_and_none_that_was_not_run(material):
    assert material.methods == ["twins_at", "at", "merged"]
    assert (material.attacks, material.datasets) == ({"clean": "Clean"}, {"d": "Dogs", "e": "Elephants"})


def test_a_figure_may_look_at_single_images_over_all_parts_of_an_evaluation(material):
    found = material.outcomes("at", "clean", 0, "d")
    assert found.image.tolist() == [0, 1, 2, 3]
    assert found.correct.tolist() == [True, False, True, True]
    assert material.outcomes("at", "clean", 0, "e").correct.tolist() == [False]


def test_a_figure_of_derived_methods_only_has_no_history(tmp_path):
    numbers = tmp_path / "numbers.json"
    numbers.write_text(json.dumps(NUMBERS))
    about = {"name": "f", "title": "T", "caption": "C.", "methods": ["merged"], "experiment": "main"}
    about["columns"] = ["clean"]
    spec = {"scale": "demo", "reproduces": True, "shown": {"clean": {"evaluation": "robustness", "split": "test"}}}
    spec |= {"methods": METHODS, "members": [], "ledgers": [], "colors": {}}
    spec |= {"figure": {**about, "kind": f"{__name__}:kept"}, "attacks": {"clean": "Clean"}, "datasets": {}}
    outputs = {role: tmp_path / f"f.{role}" for role in ("svg", "pdf", "caption")}
    GIVEN.clear()
    figure(spec, Context({"numbers": numbers}, outputs, tmp_path))
    assert GIVEN[0].history.empty
    assert GIVEN[0].summary("merged", "loss").empty
    assert GIVEN[0].methods == ["merged"]
    assert "not a reproduction" not in outputs["caption"].read_text()


def test_equal_data_give_equal_bytes(drawn):
    first, second = drawn("a"), drawn("b")
    for role in first:
        assert first[role].read_bytes() == second[role].read_bytes(), role


def test_the_caption_says_what_is_shown_and_what_it_is_not(drawn):
    text = drawn("a")["caption"].read_text()
    start = "**A title.** A caption. Lines are means over seeds, bands their range. Threat model: none, clean images."
    assert text.startswith(f"{start} Evaluation robustness: ")
    assert "10 test images of each of d, e; seeds 0, 1/seeds 0, 1, 2." in text
    assert text.endswith("Scale demo: small stand-ins, not a reproduction of a published number.\n")


def test_every_figure_says_what_its_points_bars_and_bands_are():
    """Ranges, standard deviations and intervals look alike."""
    folder = Path(figures.__file__).parent
    drawing = [path.stem for path in folder.glob("*.py") if "def draw(" in path.read_text(encoding="utf-8")]
    assert len(drawing) >= 8
    for name in drawing:
        marks = import_module(f"robustft.report.figures.{name}").MARKS
        assert "mean" in marks, name
        if re.search("bar|line|band", marks, re.IGNORECASE):
            assert re.search("range|deviation|interval|ticks", marks), name


def test_the_marks_of_a_figure_stand_in_its_caption(drawn):
    text = drawn("marks", kind="robustft.report.figures.twins_diagnostics:draw")["caption"].read_text()
    assert "A caption. Lines are means over seeds, bands their range. Threat model" in text
