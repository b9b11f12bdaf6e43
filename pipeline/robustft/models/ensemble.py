"""An ensemble of classifiers that predicts the mean of their softmax outputs (Chen et al., CVPR 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.models.classifier import Classifier


class Members(nn.Module):
    """Several classifiers side by side: images (n, C, H, W) -> logits (n, M, K)."""

    def __init__(self, models: Sequence[Classifier]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x: Tensor) -> Tensor:
        """Apply each classifier to the same images; each normalises them itself."""
        return torch.stack([model(x) for model in self.models], dim=1)


class LogMeanSoftmax(nn.Module):
    """Logits of members (n, M, K) -> log of the mean of their softmax outputs, (n, K).

    The softmax of log p is p again, so the cross-entropy of log p is exactly -log p_y. An attack that expects logits
    sees the ensemble's true loss. On p itself it would take a softmax of a softmax.
    """

    def forward(self, logits: Tensor) -> Tensor:
        """Average probabilities, computed as logarithms so that confident members do not underflow."""
        return F.log_softmax(logits, dim=2).logsumexp(dim=1) - math.log(logits.shape[1])


def mean_of_softmax(models: list[Classifier]) -> Classifier:
    """Return the ensemble that predicts the mean of its members' softmax outputs, as one differentiable classifier."""
    return Classifier(nn.Identity(), Members(models), LogMeanSoftmax())
