import csv

import pytest

from robustft.assess.results import read_results, robustbench_entry
from robustft.errors import IntegrityError, RobustftError
from robustft.files import read_json, write_json


def test_numbers_are_counted_from_ledgers_and_written_tidily(made):
    results = read_results(made)
    assert [(one.attack, one.eps) for one in results.numbers] == [
        *(("clean", "0"), ("cw", "1/50"), ("pgd10", "1/50"), ("cw", "1/25"), ("pgd10", "1/25")),
    ]
    rows = list(csv.DictReader((made / "numbers.csv").read_text().splitlines()))
    assert [int(row["correct"]) for row in rows] == [one.correct for one in results.numbers]
    assert results.accuracy("clean") == results.numbers[0].correct / 30
    assert results.accuracy("cw", "1/25") == results.numbers[3].accuracy
    with pytest.raises(RobustftError, match="there are clean, cw"):
        results.accuracy("autoattack")


def test_an_entry_is_no_leaderboard_number_without_autoattack_on_1000_images(made):
    entry = robustbench_entry(read_results(made))
    assert entry["autoattack_acc"] is None
    assert "Not a leaderboard number" in entry["footnote"]


def test_a_folder_of_something_else_is_refused(tmp_path, copy):
    with pytest.raises(IntegrityError, match="no folder of an evaluation"):
        read_results(tmp_path)
    write_json(copy / "evaluation.json", {**read_json(copy / "evaluation.json"), "form": "other"})
    with pytest.raises(IntegrityError, match="another form"):
        read_results(copy)
