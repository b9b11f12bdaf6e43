"""What the unprompted attack hides: robust accuracy under traditional and adaptive attacks, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

PANELS = {"": "Full fine-tuning", "_pt": "Prompt tuning", "_deep": "Deep prompt tuning"}
"""What is tuned, by the end of a method's name; the rest is its objective."""
MARKS = "Points are means over seeds, ticks below each line single seeds; diamonds are clean accuracy, means too."
GREY = "#777777"


def _split(method: str) -> tuple[str, str]:
    """Return the objective and the ending of a method's name: at_pt -> (at, _pt)."""
    ending = next((end for end in PANELS if end and method.endswith(end)), "")
    return method.removesuffix(ending), ending


def _points(material: Material, dataset: str, method: str, attack: str) -> pd.Series:
    """Return the accuracy of each seed in percent."""
    rows = material.measurements
    chosen = (rows["dataset"] == dataset) & (rows["method"] == method) & (rows["attack"] == attack)
    return 100 * rows.loc[chosen, "accuracy"]


def _dumbbell(axes: Axes, y: float, color: str, adaptive: pd.Series, traditional: pd.Series) -> None:
    """Draw both means, what lies between them, each seed, and in the margin the gap in points."""
    left, right = adaptive.mean(), traditional.mean()
    axes.plot([left, right], [y, y], color=color, linewidth=3, alpha=0.35, solid_capstyle="butt", zorder=1)
    for values, face in ((adaptive, color), (traditional, "white")):
        axes.plot(values, [y + 0.27] * len(values), "|", color=color, markersize=4, alpha=0.7)
        axes.plot(values.mean(), y, "o", color=color, markerfacecolor=face, markersize=7, markeredgewidth=1.6, zorder=2)
    margin = axes.get_yaxis_transform()
    axes.text(1.02, y, f"{round(right - left):+d}", transform=margin, va="center", fontsize=8)


def draw(material: Material, *, title: str) -> Figure:
    """Draw a row of panels for each data set, one for each tuning; in it a line for each objective.

    Its columns are clean accuracy, that under the traditional attack and that under the adaptive one.
    """
    unattacked, *attacks = material.columns
    objectives = list(dict.fromkeys(_split(method)[0] for method in material.methods))
    endings = [end for end in PANELS if any(_split(method)[1] == end for method in material.methods)]
    datasets = list(dict.fromkeys(material.cells["dataset"]))
    height = len(datasets) * (0.42 * len(objectives) + 0.7) + 0.9
    figure, grid = plt.subplots(
        len(datasets), len(endings), figsize=(3.4 * len(endings) + 1, height), layout="constrained", squeeze=False,
        sharex=True, sharey=True,
    )  # fmt: skip
    figure.suptitle(title, fontweight="bold")
    figure.get_layout_engine().set(wspace=0.06)  # type: ignore[union-attr]
    names = {_split(method)[0]: material.titles[method].partition(",")[0] for method in material.methods}
    for dataset, panels in zip(datasets, grid, strict=True):
        for end, axes in zip(endings, panels, strict=True):
            for y, objective in enumerate(objectives):
                method = objective + end
                if method in material.methods:
                    traditional, adaptive = (_points(material, dataset, method, attack) for attack in attacks)
                    _dumbbell(axes, y, material.colors[method], adaptive, traditional)
                    clean = _points(material, dataset, method, unattacked)
                    axes.plot(clean.mean(), y, "D", color=GREY, markersize=4, zorder=0)
            axes.set_title(PANELS[end] + (f", {material.datasets[dataset]}" if len(datasets) > 1 else ""))
            axes.grid(visible=False, axis="y")
            axes.tick_params(axis="y", left=False)
            axes.text(1.02, -0.7, "gap", transform=axes.get_yaxis_transform(), va="bottom", fontsize=8, color=GREY)
        panels[0].set_yticks(range(len(objectives)), [names[objective] for objective in objectives])
        panels[0].set(ylim=(len(objectives) - 0.5, -0.7))
    for axes in grid[-1]:
        axes.set(xlim=(0, 100), xlabel="Accuracy (%)")
    shapes = [
        Line2D([], [], marker="o", color="black", linestyle="", label="PGD-10 through the prompts (adaptive)"),
        Line2D([], [], marker="o", color="black", markerfacecolor="white", linestyle="", markeredgewidth=1.6,
               label="PGD-10 without them (traditional)"),
        Line2D([], [], marker="D", color=GREY, markersize=4, linestyle="", label="clean"),
        Line2D([], [], marker="|", color="black", markersize=6, linestyle="", label="one seed"),
    ]  # fmt: skip
    figure.legend(handles=shapes, loc="outside lower center", ncols=len(shapes))
    return figure
