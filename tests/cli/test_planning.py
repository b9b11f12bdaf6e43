"""Commands that print the steps, costs and files of a plan."""

import json
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from robustft.cli.planning import count, seconds
from robustft.errors import RobustftError

RUN = "toy/main/high/at/seed0"


def test_a_plan_is_printed_with_its_cost_and_the_claims_on_record(command, capsys):
    assert command("plan", "--json", "plan.json") == 0
    printed = capsys.readouterr().out
    assert "core-hours" in printed
    assert "Claims on record:" in printed
    assert json.loads(Path("plan.json").read_text())["whole"]["runs"] == 4


def test_a_table_is_planned_alone_and_the_steps_are_named_on_request(command, capsys):
    assert command("plan", "--table", "toy/main", "--details") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("the table toy/main at scale small")
    assert RUN in printed
    assert "Claims on record" not in printed


def test_missing_downloads_are_listed_until_they_are_there(command, capsys, toy_plan):
    assert command("files") == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines == ["published: w.pt (7.0 MB), by hand: ask them"]
    assert last == "1 of the 1 files that are needed are missing"
    (step,) = toy_plan.of_kind("download")
    for path in (*step.outputs.values(), step.record):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    assert command("files") == 0
    assert capsys.readouterr().out == "0 of the 1 files that are needed are missing\n"


@pytest.mark.parametrize(("name", "key"), [("toy/main", "methods"), (RUN, "values")])
def test_an_experiment_or_a_step_is_shown_as_text_or_json(name, key, command, capsys):
    assert command("show", name) == 0
    assert name in capsys.readouterr().out
    assert command("show", name, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["scale"] == "small"
    assert values[key]


def test_what_is_neither_is_an_error_with_the_nearest_name(command):
    with pytest.raises(RobustftError, match=f"did you mean '{RUN}'"):
        command("show", "toy/main/high/ta/seed0")


def test_tables_are_priced_and_chosen_by_a_budget_and_a_subset_is_an_option(command, capsys):
    assert command("plan", "--table") == 0
    assert "each table alone, the cheapest first" in capsys.readouterr().out
    assert command("plan", "--budget", "24h") == 0
    assert "of 24 h of one core" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "expected"), [("90min", 5400.0), ("24h", 86400.0), ("1.5 h", 5400.0), ("2d", 172800.0)]
)
def test_a_budget_is_a_time(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("wrong", ["24", "h", "-1h", "1 week", ""])
def test_another_text_is_no_budget(wrong):
    with pytest.raises(ArgumentTypeError, match="write it as 90min, 24h or 2d"):
        seconds(wrong)


@pytest.mark.parametrize("wrong", ["0", "-3", "many", "1.5"])
def test_a_number_of_images_is_a_whole_number(wrong):
    assert count("1000") == 1000
    with pytest.raises(ArgumentTypeError, match="whole number from 1 on"):
        count(wrong)
