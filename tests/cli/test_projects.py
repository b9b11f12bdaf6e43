from __future__ import annotations

from pathlib import Path

import pytest

from robustft.cli.parser import main
from robustft.config.load import Config
from robustft.files import ROOT
from robustft.plan import Plan, origins_of


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "mylab"]) == 0
    return tmp_path / "mylab"


def test_a_new_project_is_planned_as_it_is(project, monkeypatch, capsys):
    assert main(["plan", "--project", "mylab", "--details"]) == 0
    assert "mine/main/digits_5to9/mine/seed0" in capsys.readouterr().out


def test_its_method_and_its_configuration_are_in_the_records(project, monkeypatch):
    monkeypatch.chdir(project)
    plan = Plan(Config())
    step = plan.step("train", "mine/main/digits_5to9/mine/seed0")
    assert "elsewhere/methods.py" in step.sources()
    origins = origins_of(plan, step)
    assert origins["recipe.lr"].file == "papers/mine.yaml"
    assert origins["backbone.parameters.width"].file == "config/backbones.yaml"
    assert origins["threads"].file == "config/scales/own.yaml"


def test_names_stand_for_themselves_unless_a_scale_replaces_them(project, monkeypatch):
    monkeypatch.chdir(project)
    path = project / "papers" / "mine.yaml"
    path.write_text(path.read_text().replace("[digits_5to9]", "[digits_5to9, cifar10]"))
    data = {run.dataset for run in Plan(Config(scale="demo")).runs}
    assert data == {"digits_5to9"}  # itself, and what stands for cifar10 at this scale


def test_an_entry_is_laid_over_ours(project, monkeypatch):
    monkeypatch.chdir(project)
    (project / "methods.yaml").write_text("methods: {trades: {extends: trades, parameters: {beta: 1.0}}}\n")
    (project / "scales").mkdir()
    (project / "scales" / "own.yaml").write_text("extends: own\nthreads: 2\n")
    config = Config()
    assert config.baselines["trades"]["parameters"]["beta"] == 1.0
    assert config.baselines["trades"]["title"] == "TRADES"
    assert (config.scale["threads"], config.scale["device"]) == (2, "cpu")


def test_an_experiment_and_a_method_of_another_paper_are_extended(project, monkeypatch):
    monkeypatch.chdir(project)
    (project / "papers" / "mine.yaml").write_text(
        "paper: mine\ntitle: T\nthreat: {norm: linf, eps: 8/255}\n"
        "experiments: {main: {extends: twins/main, datasets: [digits_5to9], backbone: resnet_digits, pretraining: none,"
        " methods: [twins_at]}}\n"
        "methods: {twins_at: {extends: twins/twins_at}}\n"
    )
    spec = Plan(Config()).step("train", "mine/main/digits_5to9/twins_at/seed0").spec
    assert spec["method"]["implementation"] == "robustft.methods.twins:TwinsAT"
    assert spec["recipe"]["epochs"] == 60


def test_no_file_is_replaced(project, capsys):
    assert main(["init", "mylab"]) == 2
    assert "there is a project here already" in capsys.readouterr().err


def test_a_folder_without_a_project_is_refused(tmp_path, capsys):
    assert main(["plan", "--project", str(tmp_path)]) == 2
    assert "robustft init" in capsys.readouterr().err


def test_the_workflow_is_named(capsys):
    assert main(["snakefile"]) == 0
    assert capsys.readouterr().out == f"{ROOT / 'Snakefile'}\n"
