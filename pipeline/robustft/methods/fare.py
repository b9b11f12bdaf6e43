"""FARE: unsupervised adversarial fine-tuning of an image encoder.

Schlarmann, Singh, Croce, Hein. Robust CLIP: Unsupervised Adversarial Fine-Tuning of Vision Embeddings for Robust
Large Vision-Language Models. ICML 2024.

| paper | here |
| --- | --- |
| phi(z), the encoder in training | `model.features` |
| phi_Org(x), the original encoder | `model.teacher.features` |
| inner maximisation over the ball | `attack` |
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.pgd import Budget, pgd
from robustft.methods.protocol import Loss, Method, PretrainingContext
from robustft.models.classifier import Classifier
from robustft.models.teacher import WithTeacher


def squared_distance(reference: Tensor, features: Tensor) -> Tensor:
    """Return ||features - reference||_2^2 for each image: (n, D) twice -> (n,)."""
    return (features - reference).square().sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class Fare(Method):
    """min E[ max_delta ||F(x + delta) - F_0(x)||_2^2 ] over raw embeddings, no labels, no texts."""

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Keep a frozen copy of the model, and freeze the head: embeddings alone are compared."""
        with_teacher = WithTeacher(model)
        with_teacher.head.requires_grad_(False)
        return with_teacher

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on the distance that the loss measures, from a uniform start; labels are not looked at."""
        with attack_mode(model, x):
            reference = self._reference(model, x)
            return pgd(
                model.features,
                x,
                budget=budget,
                objective=lambda features: squared_distance(reference, features),
                start="uniform",
                generator=generator,
            )

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean squared distance between adversarial embeddings and the original's clean ones."""
        return Loss({"distance": squared_distance(self._reference(model, x), model.features(x_adv)).mean()})

    def export(self, model: Classifier) -> Classifier:
        """Leave the original encoder behind."""
        assert isinstance(model, WithTeacher)
        return model.alone()

    def _reference(self, model: Classifier, x: Tensor) -> Tensor:
        assert isinstance(model, WithTeacher)
        with torch.no_grad():
            return model.teacher.features(x)
