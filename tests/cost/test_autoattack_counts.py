"""The passes stated for AutoAttack are those that its four attacks make."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.autoattack import STANDARD, AutoAttackShard
from robustft.attacks.threat import ThreatModel
from robustft.cost.passes import Passes, attack_work


class Counting(nn.Module):
    """Counts images with and without a gradient by the image."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, [0, 0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen[torch.is_grad_enabled() and x.requires_grad] += len(x)
        return self.inner(x)


def test_autoattack_makes_the_passes_that_are_stated_for_it():
    # An eps too small for any image to be broken: each of six images goes through all four attacks.
    torch.manual_seed(0)
    model = Counting(nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).requires_grad_(False)).eval()
    x = torch.rand(6, 1, 4, 4)
    y = model(x).argmax(1)
    shard = AutoAttackShard(
        model,
        threat=ThreatModel("linf", Fraction(1, 10**6)),
        classes=5,
        seed=0,
        device=torch.device("cpu"),
        square_queries=20,
        settled_images=False,  # with it there are fewer: how many depends on the images
    )
    model.seen = [0, 0]
    outcome = shard.run(x, y, shard.clean(x))
    assert outcome.attacks_done == len(STANDARD)
    assert outcome.robust(y).all()
    spec = {"images": [0, 6], "shard_images": 6, "attacks": [{"algorithm": "autoattack", "square_queries": 20}]}
    stated = sum((work.passes for work in list(attack_work(spec, classes=5))[1:]), Passes())
    forward, attack = (seen / 6 for seen in model.seen)
    assert attack == pytest.approx(stated.attack, rel=0.01)
    assert forward == pytest.approx(stated.forward, abs=8)  # Square asks a few times more than its queries
