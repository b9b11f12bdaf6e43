"""Clean against robust accuracy, marker area for epochs to the best robust accuracy: Figure 1 of Chen et al."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

EPOCHS = "epochs_to_best"
MARKS = "Points are means over seeds, bars their range."
LARGEST = 900.0
"""Marker area, in square points, of the largest number of epochs in a panel."""
STAR = 380.0


def _percent(material: Material, dataset: str, method: str, attack: str) -> pd.Series:
    """Return the accuracy of each seed in percent."""
    rows = material.measurements
    chosen = (rows["dataset"] == dataset) & (rows["method"] == method) & (rows["attack"] == attack)
    return 100 * rows.loc[chosen, "accuracy"]


def epochs_of(material: Material, dataset: str, method: str) -> float | None:
    """Return the mean number of epochs to the best robust accuracy; None for a model that is not trained itself."""
    cells = material.cells
    chosen = (cells["dataset"] == dataset) & (cells["method"] == method) & (cells["attack"] == EPOCHS)
    if method not in set(material.history["method"]) or not chosen.any():
        return None
    return float(cells.loc[chosen, "mean"].iloc[0])


def _spread(values: pd.Series) -> list[list[float]]:
    """Return how far the values reach below and above their mean, which rounding may put outside of equal values."""
    return [[max(0.0, values.mean() - values.min())], [max(0.0, values.max() - values.mean())]]


def _panel(axes: Axes, material: Material, dataset: str) -> list[Line2D]:
    """Draw one data set's models; return the entries of the legend, which name each model and its epochs."""
    attacks = [column for column in material.columns if column != EPOCHS]
    epochs = {method: epochs_of(material, dataset, method) for method in material.methods}
    most = max((value for value in epochs.values() if value is not None), default=1.0)
    entries = []
    for method, needed in epochs.items():
        clean, robust = (_percent(material, dataset, method, attack) for attack in attacks)
        if clean.empty or robust.empty:
            continue
        color, star = material.colors[method], needed is None
        area = STAR if needed is None else LARGEST * needed / most
        axes.errorbar(clean.mean(), robust.mean(), xerr=_spread(clean), yerr=_spread(robust), color=color,
                      linewidth=1, alpha=0.6, zorder=2)  # fmt: skip
        axes.scatter(clean.mean(), robust.mean(), s=area, color=color, marker="*" if star else "o", alpha=0.85,
                     edgecolors="white", linewidths=1, zorder=3)  # fmt: skip
        told = "not trained" if needed is None else f"{needed:.1f} epochs"
        entries.append(
            Line2D([], [], color=color, marker="*" if star else "o", markersize=12 if star else 9, linestyle="",
                   label=f"{material.titles[method]} ({told})")
        )  # fmt: skip
    axes.set(xlabel="Clean accuracy (%)", ylabel=f"Robust accuracy, {material.attacks[attacks[1]]} (%)")
    axes.margins(0.12)
    return entries


def draw(material: Material, *, title: str) -> Figure:
    """Draw a panel for each data set, its legend below it.

    Its columns are clean accuracy, that under an attack, and the epochs to the best one.
    """
    datasets = list(dict.fromkeys(material.measurements["dataset"]))
    figure, panels = plt.subplots(
        1, len(datasets), figsize=(7.2 * len(datasets), 6.4), layout="constrained", squeeze=False
    )
    figure.suptitle(title, fontweight="bold")
    for dataset, axes in zip(datasets, panels[0], strict=True):
        entries = _panel(axes, material, dataset)
        axes.set_title(material.datasets.get(dataset, dataset))
        axes.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, labelspacing=0.9)
    return figure
