"""Each defence alone, out of the shared hypernetwork, as a specialist, and merged: clean and robust accuracy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

MARKS = "Bars are means over seeds, lines one sample standard deviation to each side."
WIDTH = 0.38
LIGHT = 0.35
"""Opacity of clean bars beside robust ones."""


def _values(material: Material, dataset: str, attack: str) -> pd.DataFrame:
    """Return mean and standard deviation in percent of each method, in the figure's order."""
    cells = material.cells
    chosen = cells[(cells["dataset"] == dataset) & (cells["attack"] == attack)].set_index("method")
    return 100 * chosen.reindex(material.methods)[["mean", "sd"]].astype(float)


def _bars(axes: Axes, material: Material, dataset: str, attack: str, *, shift: float, alpha: float) -> None:
    """Draw one horizontal bar for each method, its number inside, and its standard deviation."""
    places, colors = np.arange(len(material.methods)), [material.colors[method] for method in material.methods]
    values = _values(material, dataset, attack)
    axes.barh(places + shift, values["mean"], WIDTH, color=colors, alpha=alpha)
    spread = values["sd"].fillna(0)
    axes.errorbar(values["mean"], places + shift, xerr=spread, fmt="none", ecolor="#333333", elinewidth=0.9)
    for place, mean, sd in zip(places, values["mean"], spread, strict=True):
        if not np.isnan(mean):
            axes.text(mean + sd + 1, place + shift, f"{mean:.1f}", va="center", fontsize=7.5, color="#333333")


def draw(material: Material, *, title: str) -> Figure:
    """Draw a panel for each data set; in it two bars for each method: its columns are clean, and under an attack."""
    clean, robust = material.columns
    datasets = list(dict.fromkeys(material.cells["dataset"]))
    figure, panels = plt.subplots(
        1, len(datasets), figsize=(2.4 + 4.2 * len(datasets), 0.42 * len(material.methods) + 1.5), layout="constrained",
        sharey=True, squeeze=False,
    )  # fmt: skip
    figure.suptitle(title, fontweight="bold")
    for axes, dataset in zip(panels[0], datasets, strict=True):
        _bars(axes, material, dataset, clean, shift=-WIDTH / 2, alpha=LIGHT)
        _bars(axes, material, dataset, robust, shift=WIDTH / 2, alpha=1.0)
        axes.set(xlim=(0, 108), xlabel="Accuracy (%)", ylim=(len(material.methods) - 0.4, -0.6))
        axes.set_xticks(range(0, 101, 20))
        axes.set_axisbelow(True)
        axes.grid(visible=False, axis="y")
        if len(datasets) > 1:
            axes.set_title(material.datasets[dataset])
    panels[0][0].set_yticks(range(len(material.methods)), [material.titles[method] for method in material.methods])
    keys = [
        Patch(color="#555555", alpha=LIGHT, label=material.attacks[clean]),
        Patch(color="#555555", label=material.attacks[robust]),
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=2)
    return figure
