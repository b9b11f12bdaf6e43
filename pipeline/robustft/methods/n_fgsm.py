"""N-FGSM: single-step adversarial training from strong noise.

de Jorge, Bibi, Volpi, Sanyal, Torr, Rogez, Dokania. Make Some Noise: Reliable and Efficient Single-Step Adversarial
Training. NeurIPS 2022.

| paper | here |
| --- | --- |
| eta ~ U(-k eps, k eps) | `noise` is k |
| alpha, the step of the sign of the gradient at x + eta | `step` is alpha / eps |
| no projection onto the ball of eps | `noisy_step` |

The authors' experiments (pdejorge/N-FGSM, experiments.sh and Imagenet/experiments.sh) take alpha = eps, in three of 47
runs less, and never more; k is 2 in 42 of them. They take the gradient in training mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import noisy_step
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class NFgsm(Method):
    """min E[ CE(f(x'), y) ] with x' = x + eta + alpha sign(grad CE(f(x + eta), y)), which may leave the ball of eps."""

    noise: float = 2.0
    step: float = 1.0

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """One step from noise, the model in evaluation mode; the budget gives eps only."""
        return noisy_step(
            model, x, y, budget=budget, generator=generator, noise_over_eps=self.noise, step_over_eps=self.step
        )

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean cross-entropy on adversarial images."""
        return Loss({"cross_entropy": cross_entropy(model(x_adv), y).mean()})
