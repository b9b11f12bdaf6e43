"""CONTRIBUTING's recipe "Add a paper": one file of configuration and one of a method, and no other edit.

The sixth paper is real: adversarial logit pairing (Kannan, Kurakin, Goodfellow, 2018).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

METHOD = '''"""Adversarial logit pairing. Kannan, Kurakin, Goodfellow. arXiv 1803.06373, 2018."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class LogitPairing(Method):
    """min CE(f(x_adv), y) + weight * mean |f(x) - f(x_adv)|^2."""

    weight: float = 0.5

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on cross-entropy."""
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return cross-entropy and pairing."""
        clean, adversarial = model(x), model(x_adv)
        pairing = (clean - adversarial).square().sum(dim=1).mean()
        return Loss({"cross_entropy": cross_entropy(adversarial, y).mean(), "pairing": self.weight * pairing})
'''

CONFIG = """paper: alp
title: Adversarial Logit Pairing
authors: [Harini Kannan, Alexey Kurakin, Ian Goodfellow]
venue: arXiv, 2018
arxiv: "1803.06373"
experiments:
  main:
    datasets: [cifar10]
    backbone: resnet50
    pretraining: imagenet_linf_4
    seeds: [0]
    methods: [at, alp]
    evaluations: [robustness]
    recipe:
      {epochs: 1, batch_size: 64, optimizer: sgd, lr: 0.05, momentum: 0.9, nesterov: false, weight_decay: 5.0e-4,
       schedule: constant, milestones: [], gamma: 1.0, precision: float32, selection: last}
    training_attack: {steps: 2, step_over_eps: 1/2}
    monitor: {attack: pgd10, every_epochs: 1, images: 16}
    diagnostics: {steps_per_epoch: 0}
threat: {norm: linf, eps: 1/5}
evaluations:
  robustness: {attacks: [clean, pgd10], split: test, images: 16, shard_images: 16, parts: 1}
methods:
  alp:
    title: ALP
    implementation: robustft.methods.logit_pairing:LogitPairing
    color: "#D55E00"
tables:
  main: {title: Logit pairing, experiment: main, columns: [clean, pgd10], caption: Accuracy on one seed.}
figures: {}
claims:
  - {id: alp_over_at, kind: ordering, experiment: main, left: alp, right: at, metric: pgd10, confidence: direct,
     source: abstract, statement: ALP is more robust than AT}
deviations: []
"""


@pytest.fixture(scope="module")
def folder(tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tools["copy_checkout"](tmp_path_factory.mktemp("sixth") / "checkout", papers="all")
    before = plan(tools, folder)
    (folder / "config" / "papers" / "alp").mkdir()
    (folder / "config" / "papers" / "alp" / "paper.yaml").write_text(CONFIG)
    (folder / "pipeline" / "robustft" / "methods" / "logit_pairing.py").write_text(METHOD)
    (folder / "before.json").write_text(json.dumps(before))
    tools["snakemake"](folder, "papers=[alp]")
    return folder


def plan(tools, folder: Path) -> list[str]:
    """Return the lines of the plan's details: each step by kind and name."""
    result = tools["robustft"](folder, "plan", "--scale", "smoke", "--details")
    assert result.returncode == 0, result.stderr
    return [line.split(None, 2)[-1] for line in result.stdout.splitlines() if " alp/" in line or "/seed" in line]


def test_it_is_in_the_plan_and_nothing_else_changes_there(folder, tools):
    before, after = json.loads((folder / "before.json").read_text()), plan(tools, folder)
    added = [line for line in after if line not in before]
    assert [line for line in before if line not in after] == []
    assert added
    assert all("alp/" in line for line in added)


def test_it_runs_to_tables_and_verdicts(folder):
    results = folder / "results" / "smoke" / "alp"
    table = (results / "tables" / "main.md").read_text()
    assert "| ALP" in table
    assert "| AT" in table
    (verdict,) = json.loads((results / "verdicts.json").read_text())["verdicts"]
    assert verdict["id"] == "alp_over_at"
    assert verdict["verdict"] in ("direction here", "not trained")  # a scale of stand-ins, with budgets of seconds


def test_the_audit_walks_its_numbers_and_explain_tells_one(folder, tools):
    audit = tools["robustft"](folder, "audit", "--scale", "smoke", "--papers", "alp")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    told = tools["robustft"](folder, "explain", "alp/main:alp/pgd10", "--scale", "smoke", "--papers", "alp")
    assert told.returncode == 0, told.stderr
    assert "robustft.methods.logit_pairing:LogitPairing" in told.stdout
