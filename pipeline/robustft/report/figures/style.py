"""One look for every figure: sizes, fonts, and files whose bytes repeat."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from robustft.files import atomic_path

plt.rcParams.update(
    {
        "figure.dpi": 100,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e3e3e3",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "svg.hashsalt": "robustft",
        "svg.fonttype": "path",
        "pdf.fonttype": 42,
    }
)


def save(figure: Figure, *, svg: Path, pdf: Path) -> None:
    """Write a figure as SVG and PDF without dates, so that equal figures are equal files."""
    for path, metadata in ((svg, {"Date": None, "Creator": None}), (pdf, {"CreationDate": None, "Producer": None})):
        with atomic_path(path) as part:
            figure.savefig(part, format=path.suffix[1:], metadata=metadata)
    plt.close(figure)
