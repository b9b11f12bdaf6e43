"""A small network and images for the tests of AutoAttack's optimizations."""

from __future__ import annotations

from fractions import Fraction
from functools import partial

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.models.classifier import build_classifier

CLASSES = 5


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """All digits below 5: images (n, 1, 8, 8) in [0, 1] and labels (n,)."""
    source = load_digits(n_class=CLASSES)
    return torch.tensor(source.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(source.target)


@pytest.fixture(scope="session")
def model(tiny_backbone, digits) -> nn.Module:
    """A residual network with batch norm, after a short adversarial training on digits."""
    torch.manual_seed(0)
    model = build_classifier(tiny_backbone, shape=[1, 8, 8], classes=CLASSES)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    budget = Budget(ThreatModel("linf", Fraction(3, 20)), 3, Fraction(1, 2))
    for step in range(150):
        x, y = (part[torch.arange(step * 32, step * 32 + 32) % 800] for part in digits)
        x_adv = pgd(model.eval(), x, budget=budget, objective=partial(cross_entropy, y=y), start="none")
        optimizer.zero_grad()
        cross_entropy(model.train()(x_adv), y).mean().backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def images(digits) -> tuple[Tensor, Tensor]:
    """Twenty-four images that were not trained on; the last has a wrong label."""
    x, y = digits[0][-24:], digits[1][-24:].clone()
    y[-1] = (y[-1] + 1) % CLASSES
    return x, y
