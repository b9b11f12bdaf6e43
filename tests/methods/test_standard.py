from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from robustft.methods.standard import Standard

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded


class TestStandardCase(MethodCase):
    method = Standard()
    attacks_images = False

    def reductions(self):
        return [
            Reduction(
                "it is the mean cross-entropy itself",
                self.method,
                lambda model, x, x_adv, y: F.cross_entropy(model(x), y),
            )
        ]


def test_loss_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4): -ln 3/4 for label 0, -ln 1/4 for label 1; their mean is ln(16/3)/2.
    x = logits([math.log(3), 0.0], [math.log(3), 0.0])
    loss = Standard().loss(Logits(), x, torch.full_like(x, math.nan), torch.tensor([0, 1]))
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "cross_entropy": pytest.approx(math.log(16 / 3) / 2, abs=1e-15)
    }


def test_the_images_pass_through_untouched(tiny_model, random_batch):
    x, y = random_batch(4)
    assert Standard().attack(tiny_model(), x, y, budget=BUDGET, generator=seeded()) is x
