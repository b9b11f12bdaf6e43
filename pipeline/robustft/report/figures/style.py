"""One look for every figure: sizes, fonts, and files whose bytes repeat, whoever draws it and wherever.

Matplotlib reads settings and fonts of the user's account, of the system and of the working directory. Here it has its
own defaults and its own fonts, and then this project's settings.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path

from robustft.files import atomic_path

_DATA = Path(str(importlib.util.find_spec("matplotlib").origin)).parent / "mpl-data"  # type: ignore[union-attr]

os.environ["MPLBACKEND"] = "Agg"
# It reads the first `matplotlibrc` that it finds, beginning with the working directory: one that is broken stops it.
with contextlib.chdir(_DATA):
    import matplotlib
    import matplotlib.pyplot as plt
    from matplotlib import font_manager
    from matplotlib.figure import Figure

LOOK = {
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


def _settle() -> None:
    """Give matplotlib its own defaults and fonts, which another importer may have changed, and then `LOOK`."""
    matplotlib.use("Agg")
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    matplotlib.rcParams.update({**defaults, **LOOK})
    # Fonts of the system may have the names of its own and other shapes.
    font_manager.fontManager.ttflist.clear()
    for path in sorted((_DATA / "fonts" / "ttf").glob("*.ttf")):
        font_manager.fontManager.addfont(path)


_settle()


def save(figure: Figure, *, svg: Path, pdf: Path | None) -> None:
    """Write a figure as SVG, and as PDF if asked for, without dates, so that equal figures are equal files."""
    for path, metadata in ((svg, {"Date": None, "Creator": None}), (pdf, {"CreationDate": None, "Producer": None})):
        if path is not None:
            with atomic_path(path) as part:
                figure.savefig(part, format=path.suffix[1:], metadata=metadata)
    plt.close(figure)
