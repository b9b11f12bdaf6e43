"""Where a command works, and which files its arguments name."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.cli import common
from robustft.cli.common import enter_checkout, place


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    monkeypatch.setattr(common, "ROOT", tmp_path)
    return tmp_path


def test_a_command_in_a_folder_of_the_checkout_works_at_its_top(checkout, capsys):
    enter_checkout(checkout)
    assert Path.cwd() == checkout
    assert str(checkout) in capsys.readouterr().err


def test_a_folder_with_results_of_its_own_is_worked_in(checkout):
    (checkout / "docs" / "results").mkdir()
    enter_checkout(checkout)
    assert Path.cwd() == checkout / "docs"


def test_a_folder_elsewhere_is_worked_in(checkout, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    enter_checkout(checkout)
    assert Path.cwd() == elsewhere


def test_a_file_of_an_argument_is_where_the_command_was_typed(checkout, monkeypatch):
    assert place("cost.json") == checkout / "docs" / "cost.json"
    monkeypatch.chdir(checkout)
    assert place("cost.json") == Path("cost.json")
