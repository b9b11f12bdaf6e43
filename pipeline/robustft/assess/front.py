"""The front of clean and robust accuracy over the checkpoints of one training, and the area under it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from robustft.assess.results import Number, Results
from robustft.errors import RobustftError
from robustft.files import write_text
from robustft.report.figures.style import save


def robust_number(results: Results) -> Number:
    """Return the accuracy of the strongest attack at the largest eps: AutoAttack's, if it was run, else the lowest."""
    attacked = [one for one in results.numbers if one.algorithm != "none"]
    if not attacked:
        raise RobustftError("a front needs an attack beside the clean accuracy", where=results.folder)
    largest = max(Fraction(one.eps) for one in attacked)
    at_largest = [one for one in attacked if Fraction(one.eps) == largest]
    return min(at_largest, key=lambda one: (one.algorithm != "autoattack", one.accuracy))


def area_under(points: Sequence[tuple[float, float]]) -> float:
    """Return the area of what some point exceeds in clean and robust accuracy, both as shares: 1 is perfect.

    >>> area_under([(0.5, 0.5), (1.0, 0.25), (0.4, 0.4)])
    0.375
    """
    area, highest = 0.0, 0.0
    for clean, robust in sorted(points, reverse=True):
        area += clean * max(0.0, robust - highest)
        highest = max(highest, robust)
    return area


def write_front(found: Sequence[Results], folder: Path) -> float:
    """Write front.csv and the figure of the checkpoints in their order; return the area under the front."""
    import matplotlib.pyplot as plt  # after the style, which keeps a user's settings out

    rows, points = [], []
    for number, results in enumerate(found, start=1):
        clean = next(one for one in results.numbers if one.algorithm == "none")
        robust = robust_number(results)
        points.append((clean.accuracy, robust.accuracy))
        rows.append([number, results.folder.name, clean.accuracy, robust.accuracy, robust.attack, results.trusted])
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["checkpoint", "folder", "clean", "robust", "attack", "trusted"])
    writer.writerows(rows)
    write_text(folder / "front.csv", stream.getvalue())
    area = area_under(points)
    figure, axes = plt.subplots(figsize=(4.2, 3.4), layout="constrained")
    x, y = ([100 * point[part] for point in points] for part in (0, 1))
    axes.plot(x, y, color="#999999", linewidth=1, zorder=1)
    axes.scatter(x, y, c=range(len(points)), cmap="viridis", zorder=2)
    for number, place in enumerate(zip(x, y, strict=True), start=1):
        axes.annotate(str(number), place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("clean accuracy (%)")
    axes.set_ylabel("robust accuracy (%)")
    axes.set_title(f"area under the front: {area:.3f}")
    save(figure, svg=folder / "front.svg", pdf=folder / "front.pdf")
    return area
