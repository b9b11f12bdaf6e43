from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.pgd import Budget
from robustft.attacks.threat import ThreatModel
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.joint_finetuning import JointFinetuning
from robustft.methods.protocol import PretrainingContext
from robustft.models.classifier import Classifier, build_classifier

from .cases import BUDGET, MethodCase, Reduction, logits, seeded

LN3 = math.log(3)
CLASSES, SOURCES = 5, 4
TINY = {
    "implementation": "robustft.models.backbones.resnet:ResNet",
    "parameters": {"width": 4, "blocks": [1, 1]},
    "normalisation": {"mean": [0.3], "std": [0.4]},
}


def start():
    """A pre-trained model of four classes, and images of both tasks."""
    torch.manual_seed(77)
    source = build_classifier(TINY, shape=[1, 8, 8], classes=SOURCES).double().eval().requires_grad_(False)

    def batches(classes, seed):
        x = torch.rand(3 * classes, 1, 8, 8, dtype=torch.float64, generator=seeded(seed))
        return lambda: iter([(x[:4], torch.arange(4) % classes), (x[4:], torch.arange(4, len(x)) % classes)])

    return PretrainingContext(source, batches(CLASSES, 1), batches(SOURCES, 2))


def adversarial_training(model, x, x_adv, y):
    """AT on the target's images; one pass over all of them, so that batch statistics are the same."""
    own = y < CLASSES
    return nn.functional.cross_entropy(model(x_adv)[own], y[own])


class TestJointFinetuningCase(MethodCase):
    method = JointFinetuning(weight=0.3, selection="transport", classes=2)

    @pytest.fixture
    def batch(self, random_batch):
        """Five target images and five source images, each with its label after the target's."""
        x, y = random_batch(10, dtype=torch.float64)
        y = torch.cat([torch.arange(CLASSES), CLASSES + torch.arange(CLASSES) % SOURCES])
        noise = 0.05 * torch.randn(x.shape, generator=seeded(1), dtype=x.dtype)
        return x, (x + noise).clamp(0, 1), y

    def start(self):
        return start()

    def stated_cost(self):
        # Of an image of the target: half of this batch are auxiliary images.
        return super().stated_cost() * 0.5

    def reductions(self):
        alone = JointFinetuning(weight=0.0, selection="transport", classes=2)
        return [Reduction("AT on the target's half, with weight 0", alone, adversarial_training)]

    def test_ten_steps_lower_the_loss(self, tiny_model, class_patterns):
        # The case's own problem has target images only; half of them act as the source's here.
        x, y = class_patterns(20, dtype=torch.float64)
        y = torch.cat([y[:10], CLASSES + y[10:] % SOURCES])
        model = self.method.prepare(tiny_model(dtype=torch.float64), self.start()).train()
        small = Budget(ThreatModel("linf", Fraction(1, 100)), 3, Fraction(1, 2))
        x_adv = self.method.attack(model, x, y, budget=small, generator=seeded())
        before = self.total(model, (x, x_adv, y)).item()
        self.descend(model, (x, x_adv, y), steps=10)
        assert self.total(model, (x, x_adv, y)).item() < self.falls_to * before


class TestJointFinetuningRandomCase(TestJointFinetuningCase):
    method = JointFinetuning(weight=0.3, selection="random", classes=2)


class Scaled(nn.Linear):
    """Logits that are a multiple of two features."""

    def __init__(self, factor):
        super().__init__(2, 2, bias=False)
        self.weight.data = factor * torch.eye(2, dtype=torch.float64)


def test_loss_by_hand():
    # Features are pixels, both heads the identity. Target images (0, 0) with label 1: ln 2, and (ln 3, 0) with label 0:
    # ln(4/3). Source images with classes 0 and 1, so labels 2 and 3: (ln 3, 0) for 0: ln(4/3), for 1: ln 4.
    known = Classifier(nn.Identity(), nn.Flatten(), Scaled(1.0))
    method = JointFinetuning(weight=0.3, selection="random", classes=1)
    model = method.prepare(Classifier(nn.Identity(), nn.Flatten(), Scaled(1.0)), PretrainingContext(known))
    x_adv = logits([0.0, 0.0], [LN3, 0.0], [LN3, 0.0], [LN3, 0.0])
    loss = method.loss(model, x_adv * math.nan, x_adv, torch.tensor([1, 0, 2, 3]))
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "cross_entropy": pytest.approx((math.log(2) + math.log(4 / 3)) / 2, abs=1e-15),
        "source": pytest.approx(0.3 * (math.log(4 / 3) + math.log(4)) / 2, abs=1e-15),
    }


def test_the_parts_of_a_batch_add_up_however_it_is_cut(tiny_model, random_batch):
    # In evaluation mode, as batch statistics are each process's own.
    method = JointFinetuning(weight=0.3, selection="random", classes=2)
    model = method.prepare(tiny_model(lived=True, dtype=torch.float64), start()).eval()
    x, _ = random_batch(8, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8])
    whole = method.loss(model, x, x, y).total.item()
    parts = [method.loss(model, x[part], x[part], y[part]).total.item() for part in (slice(0, 4), slice(4, 8))]
    assert sum(parts) / 2 == pytest.approx(whole, abs=1e-12)


def test_each_image_is_attacked_on_its_own_task_and_the_sources_at_half_strength(tiny_model, random_batch):
    method = JointFinetuning(weight=0.3, selection="random", classes=2)
    model = method.prepare(tiny_model(lived=True, dtype=torch.float64), start())
    x, _ = random_batch(6, dtype=torch.float64)
    y = torch.tensor([0, 5, 1, 6, 2, 8])
    draws = seeded(4)
    adversarial = method.attack(model, x, y, budget=BUDGET, generator=draws)
    again = seeded(4)
    own = maximise_cross_entropy(model, x[::2], y[::2], budget=BUDGET, generator=again)
    half = Budget(ThreatModel("linf", Fraction(1, 20)), BUDGET.steps, BUDGET.step_over_eps)
    assert half.step == BUDGET.step / 2
    theirs = maximise_cross_entropy(model.answering_source(), x[1::2], y[1::2] - 5, budget=half, generator=again)
    assert torch.equal(adversarial[::2], own)
    assert torch.equal(adversarial[1::2], theirs)


def test_transport_keeps_the_source_classes_that_resemble_the_targets():
    # Features are pixels. Targets point along (1, 0) and (0, 1); of the sources, classes 2 and 1 do, 0 and 3 do not.
    known = Classifier(nn.Identity(), nn.Flatten(), nn.Linear(2, 4).double())
    target = [(logits([1.0, 0.0], [0.0, 1.0]), torch.tensor([0, 1]))]
    images = logits([-1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [-1.0, -1.0])
    begun = PretrainingContext(known, lambda: iter(target), lambda: iter([(images, torch.arange(4))]))
    method = JointFinetuning(weight=0.3, selection="transport", classes=2)
    model = method.prepare(Classifier(nn.Identity(), nn.Flatten(), nn.Linear(2, 2).double()), begun)
    assert set(method.auxiliary_classes(model).tolist()) == {1, 2}


def test_random_classes_are_a_function_of_the_seed(tiny_model):
    method = JointFinetuning(weight=0.3, selection="random", classes=2)

    def chosen(seed):
        model, begun = tiny_model(dtype=torch.float64), start()
        torch.manual_seed(seed)
        return method.auxiliary_classes(method.prepare(model, begun)).tolist()

    assert chosen(1) == chosen(1)
    assert len({tuple(chosen(seed)) for seed in range(8)}) > 1
    assert all(len(set(chosen(seed))) == 2 for seed in range(8))


def test_without_the_auxiliary_half_it_is_adversarial_training_of_twice_the_size(tiny_model, random_batch):
    # What dividing by half of the batch means; the training loop always adds the other half.
    method = JointFinetuning(weight=0.3, selection="random", classes=2)
    x, y = random_batch(6, dtype=torch.float64)
    model = method.prepare(tiny_model(lived=True, dtype=torch.float64), start()).eval()
    alone = AdversarialTraining().loss(model, x, x, y).total.item()
    assert method.loss(model, x, x, y).total.item() == pytest.approx(2 * alone, abs=1e-12)


@pytest.mark.parametrize("begun", [None, PretrainingContext()])
def test_without_a_pretrained_model_it_is_refused(begun, tiny_model):
    with pytest.raises(ValueError, match="pre-trained"):
        JointFinetuning(weight=0.3, selection="random", classes=2).prepare(tiny_model(), begun)
