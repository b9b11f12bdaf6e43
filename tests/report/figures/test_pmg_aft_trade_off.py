"""PMG-AFT's points: average clean against average robust accuracy."""

from dataclasses import replace

import pytest

from robustft.report.figures.pmg_aft_trade_off import draw


def points(material):
    return [line for line in draw(material, title="A title").axes[0].lines if line.get_marker() == "o"]


def test_points_are_averages_and_open_ones_are_cw(zero_shot):
    found = points(zero_shot)
    where = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in found]
    assert where == [pytest.approx(xy) for xy in ((86, 46), (86, 26), (76, 36), (76, 16))]
    assert [line.get_markerfacecolor() for line in found] == ["#000000", "white", "#0072B2", "white"]


def test_a_method_that_one_attack_was_not_run_on_has_one_point(zero_shot):
    rows = zero_shot.measurements
    found = points(replace(zero_shot, measurements=rows[(rows["method"] != "tecoa") | (rows["attack"] != "cw")]))
    assert [line.get_markerfacecolor() for line in found] == ["#000000", "white", "#0072B2"]
