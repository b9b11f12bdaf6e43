"""Steps by hand and by job file: one plan, the same file, the same work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustft.cli.parser import main
from robustft.config.load import Config
from robustft.plan import Plan
from robustft.provenance.job import job_path, write_jobs


@pytest.fixture
def step(tmp_path, monkeypatch):
    """The step that decodes the digits, in a folder of its own: real and fast."""
    monkeypatch.chdir(tmp_path)
    return Plan(Config(scale="smoke")).step("data", "digits")


def test_a_step_by_hand_writes_the_job_file_that_snakemake_would_and_its_outputs_and_log(step):
    assert main(["data", "digits", "--scale", "smoke", "--log", "logs/digits.log"]) == 0
    path = job_path(step, "smoke")
    by_hand = path.read_bytes()
    path.unlink()
    write_jobs([step], "smoke")
    assert path.read_bytes() == by_hand
    assert Path(step.record).is_file()
    assert "data:digits done" in Path("logs/digits.log").read_text()


def test_a_job_file_runs_the_step_as_by_hand_whatever_has_become_of_the_configuration(step, monkeypatch):
    write_jobs([step], "smoke")
    monkeypatch.setattr(Config, "__init__", None)
    assert main(["job", str(job_path(step, "smoke"))]) == 0
    assert json.loads(Path(step.record).read_text())["step"]["spec"] == step.spec


def test_a_missing_job_file_is_an_error_that_the_user_can_mend(step, capsys):
    assert main(["job", str(job_path(step, "smoke"))]) == 2
    assert "the job file is missing" in capsys.readouterr().err
    assert not Path("results").exists()


@pytest.mark.parametrize(("error", "status"), [(ValueError("made to fail"), 1), (OSError(28, "full"), 2)])
def test_a_failure_is_logged_with_where_it_is_kept(step, monkeypatch, error, status):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("robustft.data.step.decode", fail)
    assert main(["data", "digits", "--scale", "smoke", "--log", "step.log"]) == status
    log = Path("step.log").read_text()
    assert ("what is known about it is in scratch/" in log) == (status == 1)
    assert len(list(Path("scratch").glob("*/failed-*.json"))) == 1
