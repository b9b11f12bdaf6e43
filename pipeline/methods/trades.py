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

from pipeline.attacks.crafting import maximise_cross_entropy, maximise_kl
from pipeline.attacks.objectives import cross_entropy, kl_divergence
from pipeline.attacks.pgd import Budget
from pipeline.methods.protocol import Loss, Method
from pipeline.models.classifier import Classifier
from pipeline.models.together import together


@dataclass(frozen=True, kw_only=True)
class Trades(Method):
    """min E[ CE(f(x), y) + beta * max_delta KL(f(x) || f(x + delta)) ], gradients through both sides of the KL.

    attack: "kl" maximises the KL from a Gaussian start, as published; "cross_entropy" maximises cross-entropy from
    a uniform start, as the code released with TWINS does.
    """

    beta: float
    attack: Literal["kl", "cross_entropy"]

    def __post_init__(self) -> None:
        if self.attack not in ("kl", "cross_entropy"):
            raise ValueError(f"attack must be 'kl' or 'cross_entropy', not {self.attack!r}")

    def perturb(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Maximise the chosen objective, the model in evaluation mode."""
        if self.attack == "kl":
            return maximise_kl(model, x, budget=budget, generator=generator)
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return mean cross-entropy on clean images and beta times the mean KL."""
        clean, adversarial = together(model, x, x_adv)
        return Loss(
            {
                "cross_entropy": cross_entropy(clean, y).mean(),
                "kl": self.beta * kl_divergence(clean, adversarial).mean(),
            }
        )
