"""TRADES.

Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan. Theoretically Principled Trade-off between Robustness and Accuracy.
ICML 2019.

| paper | here |
| --- | --- |
| phi(f(X) Y) | `cross_entropy(model(x), y)` |
| phi(f(X) f(X') / lambda), eq. 5 | `kl_divergence(model(x), model(x_adv))` |
| 1 / lambda | `beta` |
| clean, adversarial and again clean images pass (released code) | `passes` |

The start of the attack is clipped to [0, 1]; the released code (yaodongyu/TRADES, trades.py) starts from Gaussian noise
that is not, and clips after each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy, maximise_kl
from robustft.attacks.objectives import cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier
from robustft.models.passes import Pass, check_passes, logits_by_pass


@dataclass(frozen=True, kw_only=True)
class Trades(Method):
    """min E[ CE(f(x), y) + beta * max_delta KL(f(x) || f(x + delta)) ], gradients through both sides of the KL.

    attack_loss: "kl" maximises the KL from a Gaussian start, as published; "cross_entropy" maximises cross-entropy from
    a uniform start, as the code released with TWINS does.
    passes: the order in which the loss passes images, which running statistics depend on.
    """

    beta: float
    attack_loss: Literal["kl", "cross_entropy"]
    passes: Sequence[Pass] = ("clean", "adversarial", "clean")

    def __post_init__(self) -> None:
        if self.attack_loss not in ("kl", "cross_entropy"):
            raise ValueError(f"attack_loss must be 'kl' or 'cross_entropy', not {self.attack_loss!r}")
        check_passes(self.passes)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Maximise the chosen objective, the model in evaluation mode."""
        if self.attack_loss == "kl":
            return maximise_kl(model, x, budget=budget, generator=generator)
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return mean cross-entropy on clean images and beta times the mean KL."""
        logits = logits_by_pass(model, self.passes, x=x, x_adv=x_adv)
        return Loss(
            {
                "cross_entropy": cross_entropy(logits["clean"], y).mean(),
                "kl": self.beta * kl_divergence(logits["clean"], logits["adversarial"]).mean(),
            }
        )
