from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.linear_probe import LinearProbe
from robustft.models.classifier import Classifier

from .cases import BUDGET, MethodCase, Reduction, logits, seeded


def adversarial_training_in_evaluation_mode(model, x, x_adv, y):
    """AT's loss of a copy whose every layer keeps its statistics, differentiated by the original's head alone."""
    frozen = copy.deepcopy(model).eval()
    frozen.head = model.head
    return AdversarialTraining().loss(frozen, x, x_adv, y).total


class TestLinearProbeCase(MethodCase):
    method = LinearProbe()
    lr = 2.0
    falls_to = 0.99  # a head alone, on features of a network that was never trained, learns slowly

    def trains(self, name):
        return name.startswith("head.")

    def reductions(self):
        name = "AT of a network in evaluation mode, of which only the head is trained"
        return [Reduction(name, self.method, adversarial_training_in_evaluation_mode)]


def test_loss_and_head_gradient_by_hand():
    # Features are the pixels, the head's weight is ((ln 3, 0), (0, 0)), its bias 0: the image (1, 0) has logits
    # (ln 3, 0) and probabilities (3/4, 1/4). Label 0: loss ln(4/3), gradient of W is (p - onehot) x feature, that is
    # ((-1/4, 0), (1/4, 0)), and of b (-1/4, 1/4).
    model = Classifier(nn.Identity(), nn.Flatten(), nn.Linear(2, 2).double())
    model.head.weight.data = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], dtype=torch.float64)
    model.head.bias.data.zero_()
    probe = LinearProbe()
    loss = probe.loss(probe.prepare(model), logits([math.nan, math.nan]), logits([1.0, 0.0]), torch.tensor([0]))
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "cross_entropy": pytest.approx(math.log(4 / 3), abs=1e-15)
    }
    loss.total.backward()
    assert model.head.weight.grad.flatten().tolist() == pytest.approx([-0.25, 0.0, 0.25, 0.0], abs=1e-15)
    assert model.head.bias.grad.tolist() == pytest.approx([-0.25, 0.25], abs=1e-15)


def test_training_never_moves_the_backbone_nor_its_statistics(tiny_model, random_batch):
    probe, (x, y) = LinearProbe(), random_batch(8)
    model = probe.prepare(tiny_model(lived=True)).train()
    before = copy.deepcopy(model.state_dict())
    # Weight decay is where a "frozen" weight would move without a gradient.
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.5, weight_decay=0.1)
    for step in range(3):
        x_adv = probe.attack(model, x, y, budget=BUDGET, generator=seeded(step))
        probe.loss(model, x, x_adv, y).total.backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) is not name.startswith("head."), name


def test_the_attack_goes_through_the_frozen_backbone(tiny_model, random_batch):
    # As strong as the attack on the whole network, for it is the same attack.
    x, y = random_batch(6)
    probe = LinearProbe()
    adversarial = probe.attack(probe.prepare(tiny_model(lived=True)), x, y, budget=BUDGET, generator=seeded(4))
    full = AdversarialTraining().attack(tiny_model(lived=True), x, y, budget=BUDGET, generator=seeded(4))
    assert torch.equal(adversarial, full)
