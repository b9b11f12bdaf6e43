"""One look for every figure, and equal files for equal figures."""

import matplotlib.pyplot as plt

from robustft.report.figures.style import save


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
