"""One look for every figure, and equal files for equal figures, whoever draws them and wherever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib import font_manager

from robustft.files import PACKAGE
from robustft.report.figures.style import save

DRAW = """
import sys
from pathlib import Path
from robustft.report.figures.style import plt, save
figure, axes = plt.subplots()
axes.plot([1, 2, 3], [0.5, 0.25, 0.125], label="one, two")
axes.set(title="Accuracy in % of $x_{adv}$", xlabel="epoch", ylabel="1,234.5")
axes.set_xticks([1, 2, 3], ["eps 1/255", "eps 2/255", "eps 4/255"])
axes.legend()
folder = Path(sys.argv[1])
save(figure, svg=folder / "f.svg", pdf=folder / "f.pdf")
"""

HOSTILE = """
figure.facecolor: yellow
savefig.facecolor: yellow
text.usetex: True
font.size: 30
axes.prop_cycle: cycler('color', ['ff0000'])
axes.formatter.use_locale: True
date.epoch: 1999-01-01T00:00:00
timezone: Asia/Tokyo
savefig.bbox: tight
svg.fonttype: none
path.simplify: False
backend: webagg
"""


def drawn(folder: Path, *, cwd: Path, **environment: str) -> dict[str, bytes]:
    """Draw in a process of its own, and return the bytes of its files."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(folder)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("plain")
    return drawn(folder / "out", cwd=folder, HOME=str(folder))


@pytest.mark.parametrize("settings", [HOSTILE.encode(), b"\xff\xfe no settings at all"], ids=["hostile", "broken"])
def test_a_users_matplotlibrc_changes_no_figure(tmp_path, plain, settings):
    """A yellow background passed the audit, and `usetex` was a traceback."""
    home = tmp_path / "home"
    for place in (tmp_path, home / ".config" / "matplotlib", tmp_path / "other"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "matplotlibrc").write_bytes(settings)
    hostile = {
        "HOME": str(home),
        "MPLCONFIGDIR": str(tmp_path / "other"),
        "MATPLOTLIBRC": str(tmp_path / "other"),
        "MPLBACKEND": "no such backend",
        "LC_ALL": "de_DE.UTF-8",
        "LANG": "de_DE.UTF-8",
        "TZ": "Asia/Tokyo",
    }
    assert drawn(tmp_path / "out", cwd=tmp_path, **hostile) == plain


def test_fonts_of_the_account_and_the_system_are_not_used():
    """A font of the same name as matplotlib's own has other shapes in another version."""
    own = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    assert {Path(font.fname).parent for font in font_manager.fontManager.ttflist} == {own}
    assert Path(font_manager.findfont("DejaVu Sans")).parent == own


def test_equal_figures_are_equal_files_without_a_date_and_are_closed(tmp_path):
    for name in ("a", "b"):
        figure, (left, right) = plt.subplots(1, 2, layout="constrained")
        left.errorbar([0, 1], [1, 2], yerr=0.5, label="bars")
        left.fill_between([0, 1], [1, 2], [2, 3], alpha=0.2)
        left.scatter([0, 1], [1, 2], marker="*")
        right.imshow([[0, 1], [1, 0]])
        right.text(0, 0, "text")
        figure.legend()
        save(figure, **{kind: tmp_path / f"{name}.{kind}" for kind in ("svg", "pdf")})
        assert not plt.fignum_exists(figure.number)
    for kind, mark in (("svg", b"<svg"), ("pdf", b"%PDF")):
        content = (tmp_path / f"a.{kind}").read_bytes()
        assert content == (tmp_path / f"b.{kind}").read_bytes()
        assert mark in content
        assert b"Date" not in content
        assert b"<dc:date>" not in content


def test_grids_and_frames_are_those_of_every_figure():
    figure, axes = plt.subplots()
    assert not axes.spines["top"].get_visible()
    assert axes.xaxis.get_gridlines()[0].get_visible()
    plt.close(figure)
