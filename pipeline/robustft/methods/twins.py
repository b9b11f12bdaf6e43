"""TWINS: two-wing normalisation.

Liu, Xu, Ji, Chan. TWINS: A Fine-Tuning Framework for Improved Transferability of Adversarial Robustness and
Generalization. CVPR 2023, pp. 16436-16446. arXiv 2303.11135.

| paper | here |
| --- | --- |
| Frozen Net: pre-training mean and variance in every batch norm | wing "frozen" |
| Adaptive Net: mean and variance of the current batch | wing "adaptive" |
| shared weights; each net its own scale and shift | `to_two_wings` |
| adversarial batch cut in two, one half for each net | wing "both", `halves` |
| weights of the two losses (value 1 and lambda) | `lambda_adaptive`, `lambda_frozen` |
| attack on the Adaptive Net; Adaptive Net at test | `attack`, `export` |
| adversarial, then clean images pass (train-TWINS-TRADES.py) | `passes` |

Deviations (texts in config/papers/twins/paper.yaml): kl_attack, trades_attack, full_beta, equal_weights, odd_batches,
passes.
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
from robustft.methods.protocol import Loss, Method, PretrainingContext
from robustft.models.classifier import Classifier
from robustft.models.passes import Pass, check_passes, logits_by_pass
from robustft.models.two_wing_batch_norm import halves, to_adaptive_wing, to_two_wings, using


@dataclass(frozen=True, kw_only=True)
class _Twins(Method):
    """What both objectives share: the two wings, and which of them is attacked and kept."""

    lambda_frozen: float
    lambda_adaptive: float

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Give every batch norm two wings; train everything, both scales and shifts included."""
        to_two_wings(model)
        return model

    def export(self, model: Classifier) -> Classifier:
        """Keep the adaptive wing."""
        to_adaptive_wing(model)
        return model


@dataclass(frozen=True, kw_only=True)
class TwinsAT(_Twins):
    """lambda_frozen * CE(Frozen(x' first half)) + lambda_adaptive * CE(Adaptive(x' second half))."""

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on the cross-entropy of the adaptive wing, which uses its running statistics here."""
        with using(model, "adaptive"):
            return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the two wings' mean cross-entropies, each on its half of the adversarial batch."""
        with using(model, "both"):
            frozen, adaptive = halves(model(x_adv))
        y_frozen, y_adaptive = halves(y)
        return Loss(
            {
                "frozen/cross_entropy": self.lambda_frozen * cross_entropy(frozen, y_frozen).mean(),
                "adaptive/cross_entropy": self.lambda_adaptive * cross_entropy(adaptive, y_adaptive).mean(),
            }
        )


@dataclass(frozen=True, kw_only=True)
class TwinsTrades(_Twins):
    """For each wing: CE(clean half) + beta * KL(clean half || adversarial half), weighted as in TWINS-AT.

    attack_loss: "kl" maximises the adaptive wing's KL from a Gaussian start; "cross_entropy" is the released code's.
    kl_over: "wing" takes the mean over the wing's half; "batch" divides its sum by the whole batch, as the released
    code does, which halves beta.
    passes: the order in which the loss passes images: the adaptive wing's running statistics depend on it.
    """

    beta: float
    attack_loss: Literal["kl", "cross_entropy"]
    kl_over: Literal["wing", "batch"]
    passes: Sequence[Pass] = ("adversarial", "clean")

    def __post_init__(self) -> None:
        if self.attack_loss not in ("kl", "cross_entropy"):
            raise ValueError(f"attack_loss must be 'kl' or 'cross_entropy', not {self.attack_loss!r}")
        if self.kl_over not in ("wing", "batch"):
            raise ValueError(f"kl_over must be 'wing' or 'batch', not {self.kl_over!r}")
        check_passes(self.passes)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Maximise the chosen objective of the adaptive wing, which uses its running statistics here."""
        with using(model, "adaptive"):
            if self.attack_loss == "kl":
                return maximise_kl(model, x, budget=budget, generator=generator)
            return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return both wings' clean cross-entropies and KL terms."""
        with using(model, "both"):
            logits = logits_by_pass(model, self.passes, x=x, x_adv=x_adv)
        adversarial, clean = halves(logits["adversarial"]), halves(logits["clean"])
        terms = {}
        weights = {"frozen": self.lambda_frozen, "adaptive": self.lambda_adaptive}
        for (wing, weight), c, a, labels in zip(weights.items(), clean, adversarial, halves(y), strict=True):
            count = len(labels) if self.kl_over == "wing" else len(y)
            terms[f"{wing}/cross_entropy"] = weight * cross_entropy(c, labels).mean()
            terms[f"{wing}/kl"] = weight * self.beta * kl_divergence(c, a).sum() / count
        return Loss(terms)
