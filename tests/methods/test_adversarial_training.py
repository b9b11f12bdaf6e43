from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import pgd
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.standard import Standard

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded


class TestAdversarialTrainingCase(MethodCase):
    method = AdversarialTraining()

    def reductions(self):
        return [
            Reduction(
                "standard training, were the adversarial images the clean ones",
                self.method,
                lambda model, x, x_adv, y: Standard().loss(model, x_adv, x, y).total,
            ),
            Reduction(
                "nothing, with weight 0",
                AdversarialTraining(weight=0.0),
                lambda model, x, x_adv, y: torch.zeros((), dtype=x.dtype),
            ),
            Reduction(
                "twice itself, with weight 2",
                AdversarialTraining(weight=2.0),
                lambda model, x, x_adv, y: 2 * self.method.loss(model, x, x_adv, y).total,
            ),
        ]


def test_loss_by_hand():
    # As in standard training, on the adversarial logits: ln(16/3)/2; the clean images must not matter.
    x_adv = logits([math.log(3), 0.0], [math.log(3), 0.0])
    nothing = torch.full_like(x_adv, math.nan)
    y = torch.tensor([0, 1])
    for weight in (1.0, 2.0):
        loss = AdversarialTraining(weight=weight).loss(Logits(), nothing, x_adv, y)
        assert {name: term.item() for name, term in loss.terms.items()} == {
            "cross_entropy": pytest.approx(weight * math.log(16 / 3) / 2, abs=1e-15)
        }


def test_the_published_weight_is_one():
    assert AdversarialTraining().weight == 1.0


def test_the_attack_is_pgd_on_cross_entropy_from_a_uniform_start_in_evaluation_mode(tiny_model, random_batch):
    x, y = random_batch(6)
    adversarial = AdversarialTraining().attack(tiny_model(lived=True).train(), x, y, budget=BUDGET, generator=seeded(4))
    model = tiny_model(lived=True).eval()
    objective = partial(cross_entropy, y=y)
    expected = pgd(model, x, budget=BUDGET, objective=objective, start="uniform", generator=seeded(4))
    assert torch.equal(adversarial, expected)
    assert cross_entropy(model(adversarial), y).mean() > cross_entropy(model(x), y).mean()
