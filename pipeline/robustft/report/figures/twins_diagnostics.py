"""Why two wings: weight norm, gradient norm, their ratio, the effective learning rate, and robust overfitting."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

if TYPE_CHECKING:
    from robustft.report.figures.step import Material

MARKS = "Lines are means over seeds, bands their range."
DASHES = {"all": "-", "adaptive": "-", "frozen": (0, (4, 2))}


def _line(axes: Axes, curves: Material, method: str, column: str, *, dash: object = "-", label: str | None = None,
          percent: bool = False) -> None:  # fmt: skip
    summary = curves.summary(method, column) * (100 if percent else 1)
    if summary.empty:
        return
    color = curves.colors[method]
    axes.plot(summary.index, summary["mean"], color=color, linestyle=dash, label=label)  # type: ignore[arg-type]
    axes.fill_between(summary.index, summary["min"], summary["max"], color=color, alpha=0.15, linewidth=0)


def _wings(curves: Material, method: str) -> list[str]:
    """Return the groups of loss terms whose gradients the method logged."""
    rows = curves.history[curves.history["method"] == method].dropna(axis=1, how="all")
    return [column.split("/")[1] for column in rows.columns if column.startswith("gradient_norm/")]


def _by_wing(axes: Axes, curves: Material, column: str) -> None:
    for method in curves.methods:
        for wing in _wings(curves, method):
            suffix = "" if wing == "all" else f", {wing} wing"
            _line(axes, curves, method, f"{column}/{wing}", dash=DASHES[wing], label=curves.titles[method] + suffix)


def draw(curves: Material, *, title: str) -> Figure:
    """Draw two rows of panels: the four norms, then accuracies and robust overfitting."""
    figure, axes = plt.subplots(2, 4, figsize=(13, 6.2), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    for method in curves.methods:
        _line(axes[0, 0], curves, method, "weight_norm", label=curves.titles[method])
    axes[0, 0].set(title="Weight norm  |w|")
    for panel, (column, heading) in zip(
        axes[0, 1:],
        (
            ("gradient_norm", "Gradient norm  |g|"),
            ("gradient_over_weight", "Ratio  |g| / |w|"),
            ("relative_step", "Effective learning rate  lr |g| / |w|"),
        ),
        strict=True,
    ):
        _by_wing(panel, curves, column)
        panel.set(title=heading, yscale="log")
    accuracies = (
        ("robust_train", "Robust accuracy, train (%)"),
        ("robust_test", "Robust accuracy, test (%)"),
        ("clean_test", "Clean accuracy, test (%)"),
    )
    for panel, (column, heading) in zip(axes[1, :3], accuracies, strict=True):
        for method in curves.methods:
            _line(panel, curves, method, column, percent=True)
        panel.set(title=heading)
    _overfitting(axes[1, 3], curves)
    for panel in axes.flat:
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    for panel in axes[1]:
        panel.set(xlabel="Epoch")
    for panel in axes[0, 1:3]:
        panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        panel.yaxis.set_major_formatter(ScalarFormatter())
        panel.yaxis.set_minor_formatter(NullFormatter())  # labels of every minor tick would lie on each other
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _overfitting(axes: Axes, curves: Material) -> None:
    """Draw how far robust test accuracy has fallen since its best epoch so far, in points."""
    for method in curves.methods:
        rows = curves.history[curves.history["method"] == method].dropna(subset=["robust_test"])
        wide = rows.pivot_table(index="epoch", columns="seed", values="robust_test")
        fall = 100 * (wide.cummax() - wide)
        color = curves.colors[method]
        axes.plot(fall.index, fall.mean(axis=1), color=color)
        axes.fill_between(fall.index, fall.min(axis=1), fall.max(axis=1), color=color, alpha=0.15, linewidth=0)
    axes.set(title="Fall since best epoch (points)")
