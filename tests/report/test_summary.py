"""The page that counts what was measured and judged."""

import pytest

from robustft.errors import RobustftError
from robustft.files import write_json
from robustft.report.summary import summary


def measurement(method: str, seed: int, *ok: bool) -> dict:
    one = {"experiment": "main", "trained_on": "d", "dataset": "d", "method": method, "seed": seed, "attack": "clean"}
    return {**one, "checks": [{"check": f"c{n}", "ok": fine} for n, fine in enumerate(ok)]}


@pytest.fixture
def folder(tmp_path):
    for paper, verdicts in (
        ("p", ["holds", "inconclusive", "holds"]),
        ("q", ["no published value on record", "direction here"]),
    ):
        (tmp_path / paper).mkdir()
        measured = [measurement("at", 0, True, False, False), measurement("at", 1, True), measurement("trades", 0)]
        other = {**measured[0], "dataset": "e"}  # the same run, measured on another data set
        write_json(tmp_path / paper / "numbers.json", {"measurements": [*measured, other]})
        write_json(tmp_path / paper / "verdicts.json", {"verdicts": [{"verdict": verdict} for verdict in verdicts]})
    return tmp_path


def test_counts_by_hand(folder):
    grid = summary(folder, ["p", "q"], scale="demo")
    columns = ["Methods", "Runs", "Measurements", "Flagged", "holds", "direction here", "inconclusive"]
    columns += ["no published value on record"]
    assert grid.header == ["Paper", *columns]
    # Two methods, three (method, seed) pairs, four measurements, of which two have failed checks.
    assert grid.rows == [
        ["p", "2", "3", "4", "2", "2", "0", "1", "0"],
        ["q", "2", "3", "4", "2", "0", "1", "0", "1"],
    ]


def test_a_paper_that_was_not_run_is_named(folder):
    (folder / "q" / "verdicts.json").unlink()
    with pytest.raises(RobustftError, match="q has not been run to its end"):
        summary(folder, ["p", "q"], scale="demo")
