"""The effect of iterations: clean and robust accuracy on validation images after each epoch of tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

MARKS = "Lines are means over seeds, bands their range."
DASHES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
MARKERS = "osD^vP"


def _lines(axes: Axes, material: Material, column: str) -> None:
    """Draw each method's mean over seeds, with their range; methods differ in colour, dash and marker."""
    for number, method in enumerate(material.methods):
        summary = 100 * material.summary(method, column)
        if summary.empty:
            continue
        color = material.colors[method]
        style = {"linestyle": DASHES[number % len(DASHES)], "marker": MARKERS[number % len(MARKERS)]}
        axes.plot(summary.index, summary["mean"], color=color, markersize=4, label=material.titles[method], **style)  # type: ignore[arg-type]
        axes.fill_between(summary.index, summary["min"], summary["max"], color=color, alpha=0.12, linewidth=0)


def draw(material: Material, *, title: str) -> Figure:
    """Draw two panels: robust and clean accuracy against epochs."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.7), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    for axes, (column, heading) in zip(
        panels,
        (
            ("robust_validation", "Robust accuracy, validation (%)"),
            ("clean_validation", "Clean accuracy, validation (%)"),
        ),
        strict=True,
    ):
        _lines(axes, material, column)
        axes.set(title=heading, xlabel="Epoch", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(labels)))
    return figure
