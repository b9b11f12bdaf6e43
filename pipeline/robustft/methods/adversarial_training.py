"""Adversarial training.

Madry, Makelov, Schmidt, Tsipras, Vladu. Towards Deep Learning Models Resistant to Adversarial Attacks. ICLR 2018.

| paper | here |
| --- | --- |
| L(theta, x + delta, y) | `cross_entropy(model(x_adv), y)` |
| S, the set of perturbations | `budget.threat` |
| saddle point, eq. 2.1 | `attack` inside, `loss` outside |
"""

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
class AdversarialTraining(Method):
    """min E[ weight * max_delta CE(f(x + delta), y) ]. `weight` is 1 as published; other values are controls."""

    weight: float = 1.0

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on cross-entropy from a uniform start, the model in evaluation mode."""
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean cross-entropy on adversarial images."""
        return Loss({"cross_entropy": self.weight * cross_entropy(model(x_adv), y).mean()})
