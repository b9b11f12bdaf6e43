"""One step needs the plan of one paper: the others are not even read."""

import gc
import os
import shutil
import subprocess
import sys

import pytest

from robustft.cli.commands import asked, planned
from robustft.cli.parser import main, parser
from robustft.config.load import Config
from robustft.errors import ConfigError
from robustft.files import ROOT
from robustft.plan import Plan
from robustft.plan.catalogue import CATALOGUED


@pytest.mark.parametrize(
    ("arguments", "papers"),
    [
        (["table", "twins/main"], ["twins"]),
        (["train", "adapt/main/digits_5to9/at/seed0"], ["adapt"]),
        (["numbers", "pmg_aft"], ["pmg_aft"]),
        (["table", "twins/main", "--papers", "adapt,twins"], ["adapt", "twins"]),
        (["plan", "--table", "hyperat/main"], ["hyperat"]),
    ],
)
def test_a_step_is_planned_with_its_own_paper_alone(arguments, papers):
    plan = planned(parser().parse_args([*arguments, "--scale", "demo"]))
    assert list(plan.config.papers) == papers


@pytest.mark.parametrize("arguments", [["data", "digits"], ["train", "pretraining/digits_at"], ["seal", "demo"]])
def test_what_no_paper_owns_is_planned_with_all_of_them(arguments):
    assert len(planned(parser().parse_args([*arguments, "--scale", "demo"])).config.papers) > 1


def test_a_step_has_the_same_digest_and_inputs_whether_or_not_other_papers_are_planned():
    everything = planned(parser().parse_args(["plan", "--scale", "demo"]))
    for kind in ("train", "attack", "numbers", "verdicts", "table", "figure"):
        step = next(step for step in everything.of_kind(kind) if step.id.split("/")[0] == "twins")
        alone = planned(parser().parse_args([kind, step.id, "--scale", "demo"])).step(kind, step.id)
        assert (alone.digest, alone.inputs, alone.upstream) == (step.digest, step.inputs, step.upstream)


@pytest.mark.parametrize("scale", ["demo", "paper"])
def test_data_and_weights_are_the_same_steps_whether_or_not_any_paper_is_planned(scale):
    everything, nothing = Plan(Config(scale=scale)), Plan(Config(scale=scale, papers="none"))
    asked = [step for step in everything.steps.values() if step.kind in CATALOGUED]
    assert asked
    assert [nothing.catalogued(step.kind, step.id) for step in asked] == asked


def test_a_job_of_data_that_was_planned_reads_no_paper_and_no_attack(monkeypatch):
    digest = Plan(Config(scale="demo", papers="none")).catalogued("data", "digits").digest
    monkeypatch.setattr(Config, "_paper", None)
    monkeypatch.setattr(Config, "attacks", None)
    arguments = parser().parse_args(["data", "digits", "--scale", "demo", "--expect", digest])
    assert asked(arguments).digest == digest


def test_what_was_planned_otherwise_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "digits", "--scale", "demo", "--expect", "0" * 64]) == 2
    assert "changed after it was planned" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("kind", CATALOGUED)
def test_a_name_that_no_list_has_is_told(kind):
    arguments = parser().parse_args([kind, "nonsense", "--scale", "demo", "--expect", "0" * 64])
    with pytest.raises(ConfigError, match="nonsense"):
        asked(arguments)


def test_a_configuration_that_became_invalid_is_told_as_such_also_to_a_planned_step(tmp_path):
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "config", folder / "config")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    scale = folder / "config" / "scales" / "demo.yaml"
    scale.write_text(scale.read_text().replace("\nthreads:", "\nthraeds:", 1))
    assert "\nthraeds:" in scale.read_text()
    command = [sys.executable, "-m", "robustft", "table", "twins/main", "--scale", "demo", "--expect", "0" * 64]
    environment = {**os.environ, "PYTHONPATH": str(folder / "pipeline")}
    said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "unknown key 'thraeds'" in said.stderr


def test_the_collector_is_on_again_after_planning():
    planned(parser().parse_args(["table", "twins/main", "--scale", "demo"]))
    assert gc.isenabled()
