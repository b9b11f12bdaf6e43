"""A results folder by itself, and folders that are none."""

from __future__ import annotations

import pytest

from robustft.cli import main
from robustft.errors import RobustftError
from robustft.files import write_json
from robustft.provenance.results_folder import Results
from tests.provenance.made_results import AT, cell, folder, numbers


def test_it_gives_cells_seeds_verdicts_and_records(tmp_path):
    found = Results(folder(tmp_path / "a", cell(AT, [0.5, 0.7])))
    assert (found.scale, list(found.cells), found.verdicts) == ("demo", [("toy", *AT)], {("toy", "better"): "holds"})
    assert found.values == {("toy", *AT): {0: 0.6, 1: 0.6}}, "the made-up measurements are all of the mean"
    assert found.records == {"toy/checkpoint.record.json"}


def test_a_folder_that_holds_no_results_is_an_error_that_names_the_one_that_was_meant(tmp_path, capsys):
    good = folder(tmp_path / "checkout" / "results" / "demo", cell(AT, [0.5]))
    for wrong in (tmp_path / "checkout", tmp_path / "checkout" / "results"):
        assert main(["compare", str(wrong), str(good)]) == 2
        assert f"did you mean {good}?" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "nowhere"), str(good)]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_numbers_of_another_version_are_an_error(tmp_path):
    other = folder(tmp_path / "b", cell(AT, [0.5]))
    old = {key: value for key, value in cell(AT, [0.5]).items() if key != "split"}
    write_json(other / "toy" / "numbers.json", {**numbers(), "cells": [old]})
    with pytest.raises(RobustftError, match=r"not of this version[\s\S]*'split'"):
        Results(other)
