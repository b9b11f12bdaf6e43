import shutil

import pytest

from robustft.assess.front import area_under, robust_number, write_front
from robustft.assess.results import read_results


def test_the_area_by_hand():
    # Two steps: 1.0 x 0.25 and 0.5 x (0.5 - 0.25); the third point is inside.
    assert area_under([(0.5, 0.5), (1.0, 0.25), (0.4, 0.4)]) == pytest.approx(0.375)
    assert area_under([(1.0, 1.0)]) == 1


def test_the_front_lists_the_checkpoints_in_their_order(made, tmp_path):
    for name in ("001-a", "002-b"):
        shutil.copytree(made, tmp_path / name)
    found = [read_results(tmp_path / name) for name in ("001-a", "002-b")]
    number = robust_number(found[0])
    assert number.eps == "1/25"
    area = write_front(found, tmp_path)
    assert area == pytest.approx(found[0].accuracy("clean") * number.accuracy)
    assert [line.split(",")[:2] for line in (tmp_path / "front.csv").read_text().splitlines()[1:]] == [
        ["1", "001-a"], ["2", "002-b"],
    ]  # fmt: skip
    assert (tmp_path / "front.svg").is_file()
