"""The robustness curve: accuracy over eps, with the interval of the images, for each attack."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from robustft.report.figures.style import save
from robustft.report.statistics import wilson

if TYPE_CHECKING:
    from robustft.assess.results import Number

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def draw_curve(numbers: Sequence[Number], *, svg: Path, pdf: Path) -> None:
    """Draw accuracy in percent over eps for each attack; the clean accuracy is at eps 0. Bands are Wilson's 95 %."""
    import matplotlib.pyplot as plt  # after the style, which keeps a user's settings out
    import seaborn as sns  # type: ignore[import-untyped]

    clean = [one for one in numbers if one.algorithm == "none"]
    attacked = [one for one in numbers if one.algorithm != "none"]
    figure, axes = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
    for color, attack in zip(COLORS, dict.fromkeys(one.attack for one in attacked), strict=False):
        points = sorted(
            [*clean[:1], *(one for one in attacked if one.attack == attack)], key=lambda one: Fraction(one.eps)
        )
        x = [float(Fraction(one.eps)) * 255 for one in points]
        bands = [wilson(one.correct, one.images) for one in points]
        title = next(one.title for one in attacked if one.attack == attack)
        sns.lineplot(x=x, y=[100 * one.accuracy for one in points], marker="o", color=color, label=title, ax=axes)
        axes.fill_between(
            x, [100 * low for low, _ in bands], [100 * high for _, high in bands], color=color, alpha=0.15
        )
    axes.set_xlabel(f"{attacked[0].norm} eps (255ths)")
    axes.set_ylabel("accuracy (%)")
    axes.set_ylim(0, 100)
    axes.set_xlim(left=0)
    axes.legend()
    save(figure, svg=svg, pdf=pdf)
