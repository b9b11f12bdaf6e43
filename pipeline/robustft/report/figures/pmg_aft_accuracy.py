"""Clean and robust zero-shot accuracy, a group of bars for each data set and one for their average."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

MARKS = "Bars are means over seeds, lines their range."
HEADINGS = ("Clean accuracy (%)", "Robust accuracy (%)")
AVERAGE = "Average"
FILL = 0.84
"""Share of a group's place that its bars fill."""


def by_dataset(material: Material, attack: str) -> pd.DataFrame:
    """Return accuracies in percent, a column for each data set and `AVERAGE`, a row for each (method, seed).

    The average is over the data sets that every run was measured on, so that it means the same in each row.
    """
    rows = material.measurements[material.measurements["attack"] == attack]
    wide = 100 * rows.pivot_table(index=["method", "seed"], columns="dataset", values="accuracy")
    wide = wide[[name for name in material.datasets if name in wide]].dropna(axis=1)
    return wide.assign(**{AVERAGE: wide.mean(axis=1)})


def _bars(axes: Axes, material: Material, table: pd.DataFrame) -> None:
    width = FILL / len(material.methods)
    # The average stands apart.
    places = [*range(table.shape[1] - 1), table.shape[1] - 0.6]
    for number, method in enumerate(material.methods):
        if method not in table.index.get_level_values("method"):
            continue
        seeds = table.loc[method]
        middle = [place + (number + 0.5) * width - FILL / 2 for place in places]
        axes.bar(middle, seeds.mean(), width, color=material.colors[method], label=material.titles[method])
        axes.vlines(middle, seeds.min(), seeds.max(), color="#444444", linewidth=0.8)
    axes.axvspan(places[-1] - 0.5, places[-1] + 0.5, color="#f3f3f3", zorder=0)
    names = [material.datasets.get(column, column) for column in table.columns]
    axes.set_xticks(places, [name.replace(" ", "\n") for name in names])
    axes.set_xlim(-0.6, places[-1] + 0.6)
    axes.set_ylim(0, 100)
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)


def draw(material: Material, *, title: str) -> Figure:
    """Draw two panels, one for each column: clean above robust."""
    figure, axes = plt.subplots(2, 1, figsize=(11, 6.4), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    for panel, attack, heading in zip(axes, material.columns, HEADINGS, strict=True):
        _bars(panel, material, by_dataset(material, attack))
        panel.set(ylabel=heading)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 8))
    return figure
