"""TRADES.

Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan. Theoretically Principled Trade-off between Robustness and Accuracy.
ICML 2019.

| paper | here |
| --- | --- |
| phi(f(X) Y) | `cross_entropy(model(x), y)` |
| phi(f(X) f(X') / lambda), eq. 5 | `kl_divergence(model(x), model(x_adv))` |
| 1 / lambda | `beta` |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy, maximise_kl
from robustft.attacks.objectives import cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Trades(Method):
    """min E[ CE(f(x), y) + beta * max_delta KL(f(x) || f(x + delta)) ], gradients through both sides of the KL.

    attack_loss: "kl" maximises the KL from a Gaussian start, as published; "cross_entropy" maximises cross-entropy from
    a uniform start, as the code released with TWINS does.
    """

    beta: float
    attack_loss: Literal["kl", "cross_entropy"]

    def __post_init__(self) -> None:
        if self.attack_loss not in ("kl", "cross_entropy"):
            raise ValueError(f"attack_loss must be 'kl' or 'cross_entropy', not {self.attack_loss!r}")

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Maximise the chosen objective, the model in evaluation mode."""
        if self.attack_loss == "kl":
            return maximise_kl(model, x, budget=budget, generator=generator)
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return mean cross-entropy on clean images and beta times the mean KL."""
        clean, adversarial = model(x), model(x_adv)
        return Loss(
            {
                "cross_entropy": cross_entropy(clean, y).mean(),
                "kl": self.beta * kl_divergence(clean, adversarial).mean(),
            }
        )
