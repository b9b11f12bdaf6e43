"""Standard training on clean images: the undefended control."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Standard(Method):
    """min E[ CE(f(x), y) ]: no adversarial images."""

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Return the clean images."""
        return x

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean cross-entropy on clean images."""
        return Loss({"cross_entropy": cross_entropy(model(x), y).mean()})
