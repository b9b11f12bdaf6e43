"""The loss along two attack directions, made without and through the prompts: a figure of Eskandar et al. (ADAPT).

| paper | here |
| --- | --- |
| x + eps delta, the traditional direction | `loss_along/pgd10_traditional/m`, m in the place of eps |
| x + eps delta_p, the adaptive direction | `loss_along/pgd10_adaptive/m` |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

DIRECTIONS = {"pgd10_traditional": "#0072B2", "pgd10_adaptive": "#B2182B"}
LABELS = {
    "pgd10_traditional": "made without the prompts (traditional)",
    "pgd10_adaptive": "made through them (adaptive)",
}
PREFIX = "loss_along"
MARKS = "Lines are means over seeds, bands their range."


def curve(material: Material, dataset: str, method: str, attack: str) -> pd.DataFrame:
    """Return mean, min and max of the loss over seeds, indexed by the multiple of the attack's perturbation."""
    rows = material.history
    rows = rows[(rows["dataset"] == dataset) & (rows["method"] == method)]
    columns = [column for column in rows if column.startswith(f"{PREFIX}/{attack}/")]
    losses = rows[columns].dropna(how="all").rename(columns=lambda name: float(name.rpartition("/")[2]))
    return losses.agg(["mean", "min", "max"]).T.sort_index()


def _published(material: Material, method: str, attack: str) -> pd.Series:
    """Return the published losses by multiple; none for a method that the published figure does not show."""
    rows = material.published
    if rows.empty:
        return pd.Series(dtype=float)
    chosen = rows[(rows["method"] == method) & (rows["metric"] == attack)]
    return pd.Series(chosen["value"].to_numpy(), index=chosen["column"].astype(float)).sort_index()


def _panel(axes: Axes, material: Material, dataset: str, method: str) -> None:
    for attack, color in DIRECTIONS.items():
        losses = curve(material, dataset, method, attack)
        axes.plot(losses.index, losses["mean"], color=color)
        axes.fill_between(losses.index, losses["min"], losses["max"], color=color, alpha=0.15, linewidth=0)
        there = _published(material, method, attack)
        axes.plot(there.index, there, color=color, linestyle=(0, (1, 1.5)), linewidth=1.4)
    axes.axvline(1, color="#777777", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.margins(x=0)
    axes.set_ylim(bottom=0)


def draw(material: Material, *, title: str) -> Figure:
    """Draw a row of panels for each data set, one panel for each method."""
    measured = [column for column in material.history if column.startswith(f"{PREFIX}/")]
    rows = material.history.dropna(subset=measured, how="all") if measured else material.history.iloc[:0]
    methods = [method for method in material.methods if method in set(rows["method"])]
    datasets = list(dict.fromkeys(rows["dataset"]))
    size = (2.6 * len(methods) + 1, 2.5 * len(datasets) + 1.1)
    figure, grid = plt.subplots(
        len(datasets), len(methods), figsize=size, layout="constrained", squeeze=False, sharex=True, sharey=True
    )
    figure.suptitle(title, fontweight="bold")
    for dataset, panels in zip(datasets, grid, strict=True):
        for method, axes in zip(methods, panels, strict=True):
            _panel(axes, material, dataset, method)
            name = f"{material.titles[method]}\n{material.datasets[dataset]}"
            axes.set_title(name if len(datasets) > 1 else material.titles[method])
        panels[0].set_ylabel("Cross-entropy (nats)")
    for axes in grid[-1]:
        axes.set_xlabel("Multiple of the perturbation")
    handles = [Line2D([], [], color=color, label=LABELS[attack]) for attack, color in DIRECTIONS.items()]
    if not material.published.empty:
        handles.append(Line2D([], [], color="black", linestyle=(0, (1, 1.5)), label="published, read off a plot"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure
