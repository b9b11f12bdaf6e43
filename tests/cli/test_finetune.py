from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from robustft.cli.finetune import owner_of, refuse_unfit
from robustft.cli.parser import main
from robustft.config.load import Config
from robustft.errors import ConfigError, RobustftError
from robustft.files import ROOT
from robustft.plan import Plan


@pytest.fixture(scope="module")
def config():
    return Config(scale="paper", folder=ROOT / "config")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    for name in ("round", "square"):
        (tmp_path / "shapes" / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(np.full((32, 32, 3), number, dtype=np.uint8)).save(
                tmp_path / "shapes" / name / f"{number}.png"
            )
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "own.pth")
    return tmp_path


def test_it_writes_a_project_with_the_recipe_of_the_paper(folder, monkeypatch):
    command = "finetune --method twins_at --method at --model own.pth --arch timm:resnet18 --data shapes --eps 4/255"
    assert main([*command.split(), "--epochs", "6", "--to", "new", "--no-run"]) == 0
    monkeypatch.chdir(folder / "new")
    plan = Plan(Config())
    spec = plan.step("train", "finetune/main/shapes/twins_at/seed0").spec
    published = Config(scale="paper", papers=["twins"], folder=ROOT / "config").papers["twins"]
    assert spec["recipe"]["lr"] == published.values["experiments"]["main"]["recipe"]["lr"]
    assert (spec["recipe"]["epochs"], spec["recipe"]["milestones"]) == (6, [3, 5])
    assert spec["threat"] == {"norm": "linf", "eps": "4/255"}
    assert spec["initial"]["digests"] == [plan.step("weights", "own").digest]
    assert [step.id for step in plan.of_kind("download")] == []


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("adapt_ce_deep", "vision transformer"),
        ("pmg_aft", "text tower"),
        ("hyperat", "vision transformer|ViT|blocks"),
        ("joint_finetuning", "second data set"),
        ("hyperat_merged", "trains nothing"),
    ],
)
def test_a_method_that_cannot_be_applied_is_refused_with_its_reason(config, method, reason):
    backbone = {
        "implementation": "robustft.models.backbones.resnet:ResNet",
        "parameters": {"width": 4, "blocks": [1]},
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    with pytest.raises(RobustftError, match=reason):
        refuse_unfit(config.methods(owner_of(config, method))[method], backbone, classes=["a", "b"])


def test_twins_needs_batch_norm(config):
    vit = config.backbones["vit_digits_patch4"]
    backbone = {**vit, "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    with pytest.raises(RobustftError, match="batch norm"):
        refuse_unfit(config.methods("twins")["twins_at"], backbone, classes=["a", "b"])


def test_an_unknown_method_has_a_near_one(config):
    with pytest.raises(ConfigError, match="twins_at"):
        owner_of(config, "twins_a")
