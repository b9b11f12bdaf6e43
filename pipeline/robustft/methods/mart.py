"""MART: misclassification-aware adversarial training.

Wang, Zou, Yi, Bailey, Ma, Gu. Improving Adversarial Robustness Requires Revisiting Misclassified Examples. ICLR 2020.

| paper | here |
| --- | --- |
| BCE(p(x', theta), y) | `boosted_cross_entropy(model(x_adv), y)` |
| KL(p(x, theta) || p(x', theta)) | `kl_divergence(model(x), model(x_adv))` |
| 1 - p_y(x, theta) | `doubt` |
| lambda | `beta` |
| x' | `attack` |
| clean, then adversarial images pass (released code) | `passes` |

Logarithms are exact and the start of the attack is clipped to [0, 1]; the released code (YisenWang/MART, mart.py) adds
1e-4, 1e-7 and 1e-12 to what they are taken of and multiplied by, and clips after each step only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import boosted_cross_entropy, cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier
from robustft.models.passes import Pass, check_passes, logits_by_pass


@dataclass(frozen=True, kw_only=True)
class Mart(Method):
    """min E[ BCE(f(x'), y) + beta * KL(f(x) || f(x')) * (1 - p_y(x)) ], gradients through all three.

    start: of the PGD on cross-entropy that makes x'; "gaussian" (standard deviation 0.001) is the released code's.
    passes: the order in which the loss passes images, which running statistics depend on.
    """

    beta: float
    start: Literal["gaussian", "uniform"] = "gaussian"
    passes: Sequence[Pass] = ("clean", "adversarial")

    def __post_init__(self) -> None:
        check_passes(self.passes)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on cross-entropy, the model in evaluation mode."""
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator, start=self.start)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean boosted cross-entropy on adversarial images and beta times the mean weighted KL."""
        logits = logits_by_pass(model, self.passes, x=x, x_adv=x_adv)
        clean, adversarial = logits["clean"], logits["adversarial"]
        doubt = -torch.expm1(-cross_entropy(clean, y))  # 1 - p_y, exact where p_y is near 1
        return Loss(
            {
                "boosted_cross_entropy": boosted_cross_entropy(adversarial, y).mean(),
                "kl": self.beta * (kl_divergence(clean, adversarial) * doubt).mean(),
            }
        )
