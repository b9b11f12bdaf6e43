"""Rows that depend on what lies in the checkout: whole runs and the audit. No test looks at how long anything took."""

from __future__ import annotations

import pytest

from benchmarks import dag
from robustft.config.load import Config
from robustft.errors import RobustftError
from robustft.files import write_json
from robustft.plan import Plan


def test_a_whole_run_is_held_against_the_most_that_it_may_take(tmp_path):
    taken = {"demo_s": 600.0, "demo_second_s": 20.0, "test_s": None, "machine": "a box", "commit": "abc"}
    write_json(tmp_path / "walls.json", [taken, {"test_s": 90.0}])
    first, second, third = dag.walls(tmp_path / "walls.json")
    seen = (first.name, first.textbook.median, first.ours.median, first.met)
    assert seen == ("make demo: a box", 720.0, 600.0, True)
    assert first.ratio.median == pytest.approx(1.2)
    assert (second.ratio.median, second.met) == (0.75, False)
    assert "commit abc" in first.note
    assert (third.name, third.met) == ("make test: an unnamed machine", True)


def test_without_wall_times_there_is_no_row_and_it_is_said(tmp_path, capsys):
    assert list(dag.walls(tmp_path / "walls.json")) == []
    assert "no rows for whole runs" in capsys.readouterr().err


def test_without_a_finished_run_there_is_no_audit_and_it_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(dag, "ROOT", tmp_path)
    assert list(dag.auditing("smoke", repeats=1)) == []
    assert "no finished smoke here" in capsys.readouterr().err


def test_an_audit_with_findings_is_no_row_and_it_is_said(tmp_path, capsys, monkeypatch):
    for step in Plan(Config(scale="smoke")).steps.values():
        for path in (*step.outputs.values(), step.record):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    def fails(*_, **__):
        raise RobustftError("the command 'ours' failed", observed="1 finding")

    monkeypatch.setattr(dag, "ROOT", tmp_path)
    monkeypatch.setattr(dag, "paired_processes", fails)
    assert list(dag.auditing("smoke", repeats=1)) == []
    assert "1 finding" in capsys.readouterr().err
