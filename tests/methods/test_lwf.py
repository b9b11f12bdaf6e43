from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.lwf import LwF
from robustft.methods.protocol import PretrainingContext
from robustft.models.classifier import Classifier, build_classifier

from .cases import BUDGET, MethodCase, Reduction, logits, seeded

LN3, LN4 = math.log(3), math.log(4)
TINY = {
    "implementation": "robustft.models.backbones.resnet:ResNet",
    "parameters": {"width": 4, "blocks": [1, 1]},
    "normalisation": {"mean": [0.3], "std": [0.4]},
}


def source(classes=4):
    """A pre-trained model of another task, as the training step hands it over."""
    torch.manual_seed(77)
    return build_classifier(TINY, shape=[1, 8, 8], classes=classes).double().eval().requires_grad_(False)


def adversarial_training(model, x, x_adv, y):
    return AdversarialTraining().loss(model, x, x_adv, y).total


class TestLwFCase(MethodCase):
    method = LwF(weight=0.3, temperature=2.0)

    def start(self):
        return PretrainingContext(source())

    def reductions(self):
        return [Reduction("AT, with weight 0", LwF(weight=0.0, temperature=2.0), adversarial_training)]


class Doubled(nn.Module):
    """Logits that are the features times a number."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def two_tasks(own=1.0, theirs=1.0):
    """Pixels as features: the model's logits are `own` times them, its source's `theirs` times; old head as source."""
    known = Classifier(nn.Identity(), nn.Flatten(), Doubled(theirs))
    return LwF(weight=0.3, temperature=2.0).prepare(
        Classifier(nn.Identity(), nn.Flatten(), Doubled(own)), PretrainingContext(source=known)
    )


def test_loss_by_hand():
    # The adversarial image has features (2 ln 3, 0). Label 0: probability 9/10, cross-entropy ln(10/9). The source
    # gives it (2 ln 4, 0) / 2 -> p = (4/5, 1/5); the old head has meanwhile become the identity: (2 ln 3, 0) / 2 -> q =
    # (3/4, 1/4). KL(p || q) = 4/5 ln(16/15) + 1/5 ln(4/5), times 0.3 * 2^2.
    model = two_tasks(theirs=LN4 / LN3)
    model.source_head = Doubled(1.0)
    x, x_adv = logits([math.nan, math.nan]), logits([2 * LN3, 0.0])
    loss = LwF(weight=0.3, temperature=2.0).loss(model, x, x_adv, torch.tensor([0]))
    kl = 4 / 5 * math.log(16 / 15) + 1 / 5 * math.log(4 / 5)
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "cross_entropy": pytest.approx(math.log(10 / 9), abs=1e-15),
        "distillation": pytest.approx(0.3 * 4 * kl, abs=1e-15),
    }


def test_gradient_of_the_distillation_by_hand():
    # d/dz of T^2 KL(p || softmax(z / T)) is T (q - p): 2 * (3/4 - 4/5), here with weight 0.3.
    model = two_tasks(theirs=LN4 / LN3)
    model.source_head = Doubled(1.0)
    x_adv = logits([2 * LN3, 0.0]).requires_grad_()
    terms = LwF(weight=0.3, temperature=2.0).loss(model, x_adv, x_adv, torch.tensor([0])).terms
    terms["distillation"].backward()
    assert x_adv.grad.flatten().tolist() == pytest.approx([0.3 * 2 * -0.05, 0.3 * 2 * 0.05], abs=1e-15)


def test_nothing_is_forgotten_before_the_first_step(tiny_model, random_batch):
    # The backbone is the source's: its own answers are reproduced, so the distillation is zero (in evaluation mode;
    # batch statistics differ from the stored ones).
    x, y = random_batch(6, dtype=torch.float64)
    known = source()
    fresh = tiny_model(dtype=torch.float64)
    fresh.backbone.load_state_dict(known.backbone.state_dict())
    model = LwF(weight=0.3, temperature=2.0).prepare(fresh, PretrainingContext(known)).eval()
    assert LwF(weight=0.3, temperature=2.0).loss(model, x, x, y).terms["distillation"].item() == pytest.approx(0)


def test_the_source_never_learns(tiny_model, random_batch):
    x, y = random_batch(8, dtype=torch.float64)
    known = source()
    before = copy.deepcopy(known.state_dict())
    method = LwF(weight=0.3, temperature=2.0)
    model = method.prepare(tiny_model(dtype=torch.float64), PretrainingContext(known)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.1)
    for _ in range(2):
        method.loss(model, x, x, y).total.backward()
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in known.state_dict().items())
    assert not torch.equal(model.source_head.weight, before["head.weight"])


def test_the_attack_is_that_of_adversarial_training_on_the_new_task(tiny_model, random_batch):
    x, y = random_batch(6, dtype=torch.float64)
    plain = tiny_model(lived=True, dtype=torch.float64)
    method = LwF(weight=0.3, temperature=2.0)
    adversarial = method.attack(
        method.prepare(plain, PretrainingContext(source())), x, y, budget=BUDGET, generator=seeded(4)
    )
    assert torch.equal(adversarial, maximise_cross_entropy(plain, x, y, budget=BUDGET, generator=seeded(4)))


@pytest.mark.parametrize("start", [None, PretrainingContext()])
def test_without_a_pretrained_model_it_is_refused(start, tiny_model):
    with pytest.raises(ValueError, match="pre-trained"):
        LwF(weight=0.3, temperature=2.0).prepare(tiny_model(), start)
