"""Clean, robust and corrupted accuracy by type of corruption, as a radar: a figure of Chen et al. (CVPR 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

ROBUST = "pgd20_uniform"
DASH = (0, (1, 1.5))
OTHER = "#777777"
"""Of a published model that is not run here."""

MARKS = "Points are means over seeds."
Axis = tuple[str, str]
"""An axis of the radar: data set and attack."""


def axes_of(material: Material, dataset: str) -> dict[Axis, str]:
    """Return the axes with their titles: clean and robust on the data set itself, then each corrupted one."""
    corrupted = material.elsewhere
    known = set(corrupted.loc[corrupted["trained_on"] == dataset, "dataset"])
    titles = {(dataset, "clean"): "Clean", (dataset, ROBUST): "PGD-20"}
    return titles | {(name, "clean"): title for name, title in material.datasets.items() if name in known}


def accuracies(material: Material, dataset: str, method: str) -> list[float]:
    """Return a method's mean accuracy in percent on each axis; nan where it was not measured."""
    cells = pd.concat([material.cells, material.elsewhere])
    cells = cells[(cells["trained_on"] == dataset) & (cells["method"] == method)]
    found = {(one.dataset, one.attack): 100 * one.mean for one in cells.itertuples()}
    return [found.get(axis, np.nan) for axis in axes_of(material, dataset)]


def published(material: Material, dataset: str) -> dict[str, list[float]]:
    """Return the published accuracies of each model on the same axes."""
    rows = material.published
    found = {(one.method, one.column, one.metric): one.value for one in rows.itertuples()}
    names = list(dict.fromkeys(method for method, _, _ in found))
    return {name: [found.get((name, *axis), np.nan) for axis in axes_of(material, dataset)] for name in names}


def _line(axes: PolarAxes, values: list[float], label: str, color: str, *, dashed: bool = False) -> None:
    """Draw a closed line around the radar."""
    angles = np.linspace(0, 2 * np.pi, len(values), endpoint=False)
    axes.plot(
        [*angles, angles[0]], [*values, values[0]], color=color, label=label, marker="o", markersize=3,
        linestyle=DASH if dashed else "-", linewidth=1.2, markerfacecolor="white" if dashed else color,
    )  # fmt: skip


def draw(material: Material, *, title: str) -> Figure:
    """Draw a radar for each data set that models were trained on."""
    datasets = list(dict.fromkeys(material.cells["trained_on"]))
    figure, panels = plt.subplots(
        1, len(datasets), figsize=(7.2 * len(datasets), 7.2), layout="constrained", squeeze=False,
        subplot_kw={"projection": "polar"},
    )  # fmt: skip
    figure.suptitle(title, fontweight="bold")
    for dataset, axes in zip(datasets, panels[0], strict=True):
        titles = axes_of(material, dataset)
        for method in material.methods:
            _line(axes, accuracies(material, dataset, method), material.titles[method], material.colors[method])
        for name, values in published(material, dataset).items():
            known = name in material.titles
            label = f"{material.titles[name] if known else name}, published"
            _line(axes, values, label, material.colors[name] if known else OTHER, dashed=True)
        angles = np.linspace(0, 360, len(titles), endpoint=False)
        axes.set_thetagrids(angles, list(titles.values()))
        for angle, label in zip(angles, axes.get_xticklabels(), strict=True):
            label.set_horizontalalignment("center" if angle % 180 == 0 else "left" if angle < 180 else "right")
        axes.set(theta_direction=-1, theta_offset=np.pi / 2, ylim=(0, 100))
        axes.set_rlabel_position(360 / len(titles) / 2)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    return figure
