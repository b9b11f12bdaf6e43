"""docs/evaluate.md: its tables are those of the code and of the kept measurement, and its first commands run."""

import csv
import re
import shlex

import pytest

from robustft.cli.parser import main
from robustft.files import ROOT
from robustft.report.trust import REASONS
from tests.assess.bed import FAULTS, HONEST

TEXT = (ROOT / "docs" / "evaluate.md").read_text(encoding="utf-8")


def test_every_reason_is_told_as_the_card_tells_it():
    for reason in REASONS.values():
        assert f"| {reason.title} | {reason.usual} | {reason.to_do} |" in TEXT


def test_the_table_of_the_bed_is_the_kept_measurement():
    with (ROOT / "docs" / "evaluate-bed.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["model"] for row in rows] == [*FAULTS, *HONEST]
    for row in rows:
        assert "| " + " | ".join(row.values()) + " |" in TEXT
    assert all(row["flagged"] == row["fault"] for row in rows if row["fault"] != "none")
    assert sum(row["flagged"] != "none" for row in rows if row["fault"] == "none") <= 1


def test_the_first_commands_do_what_is_said(tmp_path, monkeypatch, capsys):
    from robustft.cli import evaluating

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluating, "HERE", tmp_path)
    (tmp_path / "mynet.py").write_text(re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)[1])
    lines = re.search(r"```console\n(.*?)```", TEXT, re.DOTALL)[1].splitlines()
    codes = [main(shlex.split(line.removeprefix("$ robustft "))) for line in lines]
    assert codes == [1, 0, 0]
    assert "no better than guessing" in capsys.readouterr().out


@pytest.mark.parametrize("line", [line for line in TEXT.splitlines() if line.startswith("robustft evaluate")])
def test_the_examples_parse(line):
    from robustft.cli.parser import CommandLine

    assert CommandLine().parse(shlex.split(line)[1:]).command == "evaluate"
