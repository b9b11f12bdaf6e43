"""Linear probing: a new head on features that never change."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, evaluating
from robustft.methods.protocol import Loss, Method, PretrainingContext
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Method):
    """min over the head of E[ max_delta CE(f(x + delta), y) ]; the backbone keeps its weights and statistics.

    The attack goes through the whole model: features are frozen, images are not.
    """

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Freeze all but the head."""
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        return model

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on cross-entropy from a uniform start, the model in evaluation mode."""
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean cross-entropy on adversarial images, the backbone with its stored statistics."""
        with evaluating(model), torch.no_grad():
            features = model.features(x_adv)
        return Loss({"cross_entropy": cross_entropy(model.head(features), y).mean()})
