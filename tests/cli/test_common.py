"""Where a command works, the plan for its arguments, and its log."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from robustft.cli import common
from robustft.cli.common import configuration, enter_checkout, logger, place, planned
from robustft.cli.parser import CommandLine
from robustft.config import Config
from robustft.errors import ConfigError
from robustft.files import ROOT, write_json

PAPERS = sorted(path.parent.name for path in (ROOT / "config" / "papers").glob("*/paper.yaml"))
PAPER, OTHER = PAPERS[:2]
OF_SMOKE = list(Config(scale="smoke").papers)
"""The papers of the scale: references have one of their own."""


def parsed(*arguments: str):
    return CommandLine().parse([*arguments, "--scale", "smoke"])


@pytest.mark.parametrize(
    ("arguments", "papers"),
    [
        (["table", f"{PAPER}/main"], [PAPER]),
        (["numbers", PAPER], [PAPER]),
        (["plan", "--table", f"{PAPER}/main"], [PAPER]),
        (["table", f"{PAPER}/main", "--papers", f"{OTHER},{PAPER}"], [PAPER, OTHER]),
        (["audit", "--papers", OTHER, "--papers", PAPER], [PAPER, OTHER]),
        (["data", "digits"], OF_SMOKE),
        (["train", "pretraining/digits_at"], OF_SMOKE),
    ],
)
def test_a_step_is_planned_with_its_own_paper_alone_and_what_no_paper_owns_with_all(arguments, papers):
    assert list(configuration(parsed(*arguments)).papers) == papers


def test_a_step_has_the_same_digest_and_inputs_whether_or_not_other_papers_are_planned():
    everything, alone = planned(parsed("plan")), planned(parsed("numbers", PAPER))
    assert len(alone.steps) < len(everything.steps)
    for step in alone.steps.values():
        other = everything.steps[step.key]
        assert (other.digest, other.inputs, other.upstream) == (step.digest, step.inputs, step.upstream)


def test_a_log_goes_to_standard_error_and_with_the_time_to_a_file_that_grows(tmp_path, capfd):
    path = tmp_path / "logs" / "step.log"
    for text in ("one\ntwo", "three"):
        logger("data:digits", str(path))(text)
    assert capfd.readouterr().err == "[data:digits] one\n[data:digits] two\n[data:digits] three\n"
    lines = path.read_text().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in lines] == ["one", "two", "three"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_cannot_grow_does_not_stop_the_work_and_is_named_once(capfd):
    log = logger("data:digits", "/dev/full")
    log("one")
    log("two")
    printed = capfd.readouterr().err
    assert "[data:digits] two\n" in printed
    assert printed.count("the log /dev/full is not written any more") == 1


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


def test_what_was_run_decides_how_many_seeds_a_command_after_it_means(tmp_path, monkeypatch):
    """An audit of three seeds, typed without their number, called the numbers of all three edited."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "results" / "demo" / PAPER / "manifest.json"
    write_json(
        path, {"records": {f"results/demo/{PAPER}/main/d/at/seed{seed}/checkpoint.record.json": "" for seed in (0, 2)}}
    )

    def seeds(*arguments: str) -> int | None:
        return configuration(CommandLine().parse([*arguments, "--scale", "demo", "--paper", PAPER])).seeds

    assert [seeds("audit"), seeds("audit", "--seeds", "2"), seeds("plan"), seeds("summary")] == [3, 2, 1, 3]
    path.write_text("{", encoding="utf-8")
    assert seeds("audit") == 1
    assert seeds("train", f"{PAPER}/main/d/at/seed4") == 5


def test_a_recheck_means_the_seeds_of_the_results_that_it_is_given(tmp_path, monkeypatch):
    folder = tmp_path / "theirs" / "demo" / PAPER
    write_json(folder / "manifest.json", {"records": {f"results/demo/{PAPER}/m/d/at/seed2/c.record.json": "0"}})
    write_json(folder / "manifest.record.json", {})
    monkeypatch.chdir(tmp_path)
    words = ["recheck", "--results", "theirs/demo", "--scale", "demo", "--paper", PAPER]
    assert configuration(CommandLine().parse(words)).seeds == 3


def test_a_number_of_seeds_that_is_none_is_an_error():
    with pytest.raises(ConfigError, match="--seeds must be a number of seeds"):
        configuration(CommandLine().parse(["plan", "--seeds", "all"]))
