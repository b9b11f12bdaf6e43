"""Average zero-shot accuracy, clean against robust: a point for each method and attack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from robustft.report.figures.pmg_aft_accuracy import AVERAGE, by_dataset

if TYPE_CHECKING:
    from robustft.report.figures.step import Material


MARKS = "Points are means over seeds, lines their range."


def draw(material: Material, *, title: str) -> Figure:
    """Draw one panel; a line joins the two points of a method.

    Its columns are clean accuracy, and that under an attack with filled points and under one with open points.
    """
    unattacked, *attacks = material.columns
    filled_of = dict(zip(attacks, (True, False), strict=True))
    figure, axes = plt.subplots(figsize=(7.6, 4.6), layout="constrained")
    figure.suptitle(title, fontweight="bold")
    clean = by_dataset(material, unattacked)[AVERAGE]
    robust = {attack: by_dataset(material, attack)[AVERAGE] for attack in attacks}
    for method in material.methods:
        color, x = material.colors[method], clean[method]
        ends = []
        for attack, filled in filled_of.items():
            y = robust[attack].get(method)
            if y is None:
                continue
            ends.append(y.mean())
            axes.hlines(y.mean(), x.min(), x.max(), color=color, linewidth=1)
            axes.vlines(x.mean(), y.min(), y.max(), color=color, linewidth=1)
            face = color if filled else "white"
            axes.plot(x.mean(), y.mean(), "o", markersize=8, color=color, markerfacecolor=face, zorder=3)
        axes.plot([x.mean()] * len(ends), ends, color=color, linewidth=1, linestyle=":")
    axes.set(xlabel="Average clean accuracy (%)", ylabel="Average robust accuracy (%)")
    axes.set_ylim(bottom=0)
    methods = [
        Line2D([], [], marker="o", linestyle="", markersize=8, color=material.colors[name], label=material.titles[name])
        for name in material.methods
    ]
    attack_marks = [
        Line2D([], [], marker="o", linestyle="", markersize=8, color="#444444",
               markerfacecolor="#444444" if filled else "white", label=material.attacks[attack])
        for attack, filled in filled_of.items()
    ]  # fmt: skip
    figure.legend(handles=methods, title="Method", loc="outside right upper", alignment="left")
    figure.legend(handles=attack_marks, title="Attack", loc="outside right lower", alignment="left")
    return figure
