"""What tests of figures share."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from robustft.report.figures.step import Material

METHODS = {"clip": "CLIP", "tecoa": "TeCoA"}
DATASETS = {"b": "Second set", "a": "First"}
ACCURACY = {"clean": 0.8, "pgd10_random": 0.4, "cw": 0.2}


@pytest.fixture
def zero_shot() -> Material:
    """Two methods and two seeds on two data sets, and one method on a third set."""
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


@pytest.fixture(autouse=True)
def closed_figures():
    """Pyplot keeps every figure until it is closed."""
    yield
    plt.close("all")
