"""Other papers' methods fit without an edit of shared code."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from robustft.config.load import Config
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.plan import Plan

sys.path.append(str(Path(__file__).parent))  # as a project's own folder is, when its steps run

from outside_methods import AutoLora, Awp, Ema

from tests.methods.cases import MethodCase, Reduction
from tests.train import toy


def adversarial_training(model, x, x_adv, y):
    return F.cross_entropy(model(x_adv), y)


class TestAwpCase(MethodCase):
    method = Awp(size=0.005)

    def reductions(self):
        return [Reduction("unperturbed weights are AT", Awp(size=0.0), adversarial_training)]

    def test_the_order_of_the_batch_does_not_matter(self, prepared, batch):
        order = torch.randperm(len(batch[0]), generator=torch.Generator().manual_seed(0))
        one, other = (self.total(prepared, tuple(b[o] for b in batch)).item() for o in (order, order.flip(0)))
        assert one == pytest.approx(other, abs=1e-9)  # the perturbation passes rounding on


class TestEmaCase(MethodCase):
    method = Ema(AdversarialTraining(), decay=0.0)

    def trains(self, name):
        return not name.startswith("average.")

    def descend(self, model, batch, *, steps):
        super().descend(model, batch, steps=steps)
        self.method.after_step(model)

    def reductions(self):
        return [Reduction("its loss is the inner method's", self.method, adversarial_training)]


class TestAutoLoraCase(MethodCase):
    method = AutoLora(rank=2, natural=0.5, pairing=1.0, fall=0.5)

    def reductions(self):
        return [Reduction("without natural images it is AT", AutoLora(rank=2, natural=0.0, pairing=0.0, fall=0.5),
                          adversarial_training)]  # fmt: skip


def test_the_average_by_hand(tiny_model):
    method = Ema(AdversarialTraining(), decay=0.75)
    model = method.prepare(tiny_model(dtype=torch.float64))
    before = model.head.bias.detach().clone()
    with torch.no_grad():
        model.head.bias.add_(4.0)
    method.after_step(model)
    torch.testing.assert_close(method.export(model).head.bias, before + 1.0)


def test_the_learning_rate_falls_when_validation_does_not_rise(tmp_path, monkeypatch):
    monkeypatch.setattr("robustft.train.monitor.Monitor.measure", lambda *_: {"robust_validation": 0.5})
    recipe = {"epochs": 3, "schedule": "constant"}
    rows = toy.trainer(TestAutoLoraCase.method, tmp_path, spec=toy.spec(recipe=recipe)).run()
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.05, 0.025])


def test_the_project_is_planned_as_it_lies_there(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)
    plan = Plan(Config())
    step = plan.step("train", "outside/main/digits_5to9/ema/seed0")
    assert "tests/outside/outside_methods.py" in step.sources()
    assert "pipeline/robustft/methods/adversarial_training.py" in step.sources()  # what it wraps
    assert step.spec["threat"] == {"norm": "l2", "eps": "1/2"}
    assert plan.step("train", "outside/main/digits_5to9/fast_head/seed0").spec["recipe"]["lr_factors"] == {"head": 10}
    assert plan.step("numbers", "outside").spec["reproduces"]  # nothing stands in for another thing
