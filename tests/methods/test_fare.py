from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustft.methods.fare import Fare, squared_distance
from robustft.models.classifier import Classifier
from robustft.models.teacher import WithTeacher

from .cases import BUDGET, MethodCase, Reduction, logits, seeded


class TestFareCase(MethodCase):
    method = Fare()

    def trains(self, name):
        return not name.startswith(("_teacher.", "head."))

    def reductions(self):
        def written_out(model, x, x_adv, y):
            change = model.features(x_adv) - model.teacher.features(x).detach()
            return (change**2).sum() / len(x)

        return [Reduction("it is the mean squared distance itself", self.method, written_out)]


def shifted(by: float) -> WithTeacher:
    """A model whose embeddings are its pixels plus a learnt shift, started from a shift of zero."""
    normalise, backbone = nn.Identity(), nn.Sequential(nn.Flatten(), nn.Linear(2, 2).double())
    with torch.no_grad():
        backbone[1].weight.copy_(torch.eye(2))
        backbone[1].bias.zero_()
        model = Fare().prepare(Classifier(normalise, backbone, nn.Linear(2, 3).double()))
        model.backbone[1].bias.fill_(by)
    return model


def test_loss_by_hand():
    # Embeddings are pixels + 1 now and were pixels: (3, 5) against (1, 1): 4 + 16; (1, 1) against (0, 0): 1 + 1.
    x, x_adv = logits([1.0, 1.0], [0.0, 0.0]), logits([2.0, 4.0], [0.0, 0.0])
    loss = Fare().loss(shifted(1.0), x, x_adv, torch.tensor([0, 1]))
    assert {name: term.item() for name, term in loss.terms.items()} == {"distance": pytest.approx(11.0, abs=1e-14)}


def test_embeddings_are_compared_raw_with_their_lengths():
    one, twice = torch.tensor([[3.0, 4.0]]), torch.tensor([[6.0, 8.0]])
    assert squared_distance(one, twice).item() == 25.0  # of equal direction; normalised ones would have distance 0


def test_labels_and_head_have_no_part_in_it(tiny_model, random_batch):
    x, y = random_batch(6)
    model = Fare().prepare(tiny_model(lived=True))
    results = []
    for labels, scale in ((y, 1.0), (y.flip(0), 3.0)):
        with torch.no_grad():
            model.head.weight.mul_(scale)
        x_adv = Fare().attack(model, x, labels, budget=BUDGET, generator=seeded())
        results.append((x_adv, Fare().loss(model.eval(), x, x_adv, labels).total.item()))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]
    assert not any(parameter.requires_grad for parameter in model.head.parameters())


def test_the_attack_leaves_the_original_embedding_behind():
    # The shift is up and right, so the farthest point of the ball is its upper right corner: each step goes there.
    x = logits([0.5, 0.5])
    x_adv = Fare().attack(shifted(1.0), x, torch.tensor([0]), budget=BUDGET, generator=seeded())
    assert x_adv.flatten().tolist() == pytest.approx([0.6, 0.6], abs=1e-12)


def test_an_untrained_model_on_clean_images_has_no_loss(tiny_model, random_batch):
    x, y = random_batch(4, dtype=torch.float64)
    model = Fare().prepare(tiny_model(lived=True, dtype=torch.float64)).eval()
    assert Fare().loss(model, x, x, y).total.item() == 0.0
    assert not math.isnan(Fare().loss(model, x, x.flip(0), y).total.item())
