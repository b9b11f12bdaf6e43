"""ADAPT: adversarial prompt tuning.

Eskandar, Imtiaz, Wang, Dy. ADAPT to Robustify Prompt Tuning Vision Transformers. TMLR 2025. arXiv 2403.13196. The body
of the paper could not be read; the symbols are ours, the objectives those of the released code (commit f25bfdd).

| ours | here |
| --- | --- |
| f(.; P), prompts in the forward pass | `model`, prepared by `PromptTuning` (robustft/models/tunings/prompts.py) |
| adaptive attack: ascend CE(f(x + delta; P), y) | `attack`, with `PromptTuning(attack="adaptive")` |
| CE(f(x; P), y) | `cross_entropy(model(x), y)` |
| ADAPT-CE: + beta CE(f(x + delta; P), y) | `AdaptCE` |
| ADAPT-KL: + beta KL(p(x; P) || p(x + delta; P)) | `AdaptKL` |

Deviations (texts in config/papers/adapt/paper.yaml): clip_all, attack_eval_mode.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class _Adapt(Method):
    """What both variants share: the attack raises cross-entropy, whatever the loss is."""

    beta: float

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on cross-entropy from a uniform start, the model in evaluation mode."""
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)


@dataclass(frozen=True, kw_only=True)
class AdaptCE(_Adapt):
    """min E[ CE(f(x; P), y) + beta * CE(f(x + delta; P), y) ]."""

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean cross-entropies on clean and, times beta, on adversarial images."""
        clean, adversarial = model(x), model(x_adv)
        return Loss(
            {
                "clean": cross_entropy(clean, y).mean(),
                "adversarial": self.beta * cross_entropy(adversarial, y).mean(),
            }
        )


@dataclass(frozen=True, kw_only=True)
class AdaptKL(_Adapt):
    """min E[ CE(f(x; P), y) + beta * KL(p(x; P) || p(x + delta; P)) ], gradients through both sides of the KL."""

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean cross-entropy on clean images and beta times the mean KL."""
        clean, adversarial = model(x), model(x_adv)
        return Loss(
            {
                "clean": cross_entropy(clean, y).mean(),
                "kl": self.beta * kl_divergence(clean, adversarial).mean(),
            }
        )
