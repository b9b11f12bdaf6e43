"""A frozen vision transformer that acts with W0 + delta in the place of some of its weights W0.

W0 + delta is formed before images pass. So a step of an attack costs what it costs on the plain network, and folding
changes no bit of the logits.
"""

from __future__ import annotations

import contextlib
import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustft.errors import ConfigError
from robustft.models.classifier import Classifier
from robustft.models.tunings.sites import in_weights

Factors = dict[str, tuple[Tensor, Tensor]]
"""For each site A (L, r, inputs) and B (L, outputs, r), over the L blocks."""


class AdaptedBackbone(nn.Module, ABC):
    """A frozen ViT that acts with W0 + delta in the place of the weights W0 of its sites."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain.requires_grad_(False)
        self.out_features = plain.out_features
        self.acting: dict[str, Tensor] | None = None
        """The weights that act within `acting_with`; without it they are made anew for each pass."""

    @abstractmethod
    def deltas(self) -> dict[str, Tensor]:
        """Return the change of each site's weight, (L, outputs, inputs) over the L blocks."""

    def adapted(self, deltas: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return W0 + delta by the name that each weight has in the plain network."""
        return {name: self.plain.get_parameter(name) + delta for name, delta in in_weights(deltas).items()}

    def weights(self) -> dict[str, Tensor]:
        """Return the weights that act."""
        return self.adapted(self.deltas())

    @contextlib.contextmanager
    def acting_with(self, weights: dict[str, Tensor]) -> Iterator[None]:
        """Let given weights act."""
        before, self.acting = self.acting, weights
        try:
            yield
        finally:
            self.acting = before

    @contextlib.contextmanager
    def crafting(self) -> Iterator[None]:
        """Let an attack see the weights detached and made once, not at each of its steps: equal images for less."""
        with torch.no_grad():
            made = self.weights()
        with self.acting_with(made):
            yield

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (n, C, H, W) to features (n, D)."""
        weights = self.weights() if self.acting is None else self.acting
        # A ViT ties no weights; looking for some would cost a small network a fifth of its pass.
        features: Tensor = functional_call(self.plain, weights, (x,), tie_weights=False)
        return features


def adapted_backbone(model: Classifier) -> AdaptedBackbone:
    """Return the model's backbone, which must be an adapted one."""
    if not isinstance(model.backbone, AdaptedBackbone):
        raise ConfigError(f"the model's backbone is a plain {type(model.backbone).__name__}, not an adapted one")
    return model.backbone


def fold(model: Classifier, weights: Mapping[str, Tensor]) -> Classifier:
    """Return the plain classifier that has these weights in its backbone; the model keeps its own."""
    plain = copy.deepcopy(adapted_backbone(model).plain)
    with torch.no_grad():
        for name, weight in weights.items():
            plain.get_parameter(name).copy_(weight)
    return Classifier(model.normalise, plain.requires_grad_(True), model.head)
