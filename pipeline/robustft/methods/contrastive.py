"""Image-text contrast within a batch: CLIP's pre-training, and fine-tuning with the same loss.

Radford et al. Learning Transferable Visual Models From Natural Language Supervision. ICML 2021. Fine-tuning, on clean
or adversarial images, is the baseline of TGA-ZSR (NeurIPS 2024).

| paper | here |
| --- | --- |
| s <I_i, T_j>, image i against the text of image j | `model(x)[:, y]`: a text is the prompt of its image's class |
| mean of the two cross-entropies | `contrast` |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget
from robustft.errors import ConfigError
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier


def contrast(logits: Tensor, y: Tensor, *, duplicates: Literal["negatives", "masked"]) -> Tensor:
    """Return each image's loss of finding its text among the batch's and its text's of finding it, their mean, (n,).

    Logits (n, K) of the batch's images against all class prompts, labels y (n,). Two images of one class have one
    text: with "negatives" either still counts as wrong for the other, as in CLIP; with "masked" it does not count.
    """
    pairs = logits[:, y]
    own = torch.arange(len(y), device=y.device)
    if duplicates == "masked":
        same = (y[:, None] == y) & (own[:, None] != own)
        pairs = pairs.masked_fill(same, -torch.inf)
    return (cross_entropy(pairs, own) + cross_entropy(pairs.T, own)) / 2


@dataclass(frozen=True, kw_only=True)
class Contrastive(Method):
    """Mean symmetric contrast in the batch, on clean images or on adversarial ones.

    duplicates: what a second image of the same class is to an image, see `contrast`. Captions of a small world repeat
    in every batch, unlike those of the web, so pre-training masks them.
    """

    adversarial: bool
    duplicates: Literal["negatives", "masked"]

    def __post_init__(self) -> None:
        if self.duplicates not in ("negatives", "masked"):
            raise ConfigError(f"duplicates must be 'negatives' or 'masked', not {self.duplicates!r}")

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on cross-entropy over all class prompts, as the other methods; nothing if trained on clean images."""
        if not self.adversarial:
            return x
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean contrast of the images that it trains on."""
        logits = model(x_adv if self.adversarial else x)
        return Loss({"contrast": contrast(logits, y, duplicates=self.duplicates).mean()})
