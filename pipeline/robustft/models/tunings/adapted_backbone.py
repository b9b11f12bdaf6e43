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
    """A frozen ViT `plain` whose pass uses W0 + delta in the place of the weights W0 of its sites."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self.plain = plain.requires_grad_(False)
        self.out_features = plain.out_features
        self.acting: dict[str, Tensor] | None = None
        """The weights that passes use within `acting_with`; outside of it each pass computes them."""

    @abstractmethod
    def deltas(self) -> dict[str, Tensor]:
        """Return the change of each site's weight, (L, outputs, inputs) over the L blocks."""

    def adapted(self, deltas: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return W0 + delta by the name that each weight has in the plain network."""
        return {name: self.plain.get_parameter(name) + delta for name, delta in in_weights(deltas).items()}

    def weights(self) -> dict[str, Tensor]:
        """Return W0 + delta of all sites by name."""
        return self.adapted(self.deltas())

    @contextlib.contextmanager
    def acting_with(self, weights: dict[str, Tensor]) -> Iterator[None]:
        """Use these weights in all passes within the context."""
        before, self.acting = self.acting, weights
        try:
            yield
        finally:
            self.acting = before

    @contextlib.contextmanager
    def under_attack(self) -> Iterator[None]:
        """Compute the weights once for all steps of an attack, detached: equal images for less work."""
        with torch.no_grad():
            weights = self.weights()
        with self.acting_with(weights):
            yield

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (n, C, H, W) to features (n, D)."""
        weights = self.weights() if self.acting is None else self.acting
        # A ViT has no tied weights. The search for them would cost a small network a fifth of its pass.
        features: Tensor = functional_call(self.plain, weights, (x,), tie_weights=False)
        return features


def adapted_backbone(model: Classifier) -> AdaptedBackbone:
    """Return the model's adapted backbone. Raises ConfigError for another one."""
    if not isinstance(model.backbone, AdaptedBackbone):
        raise ConfigError(f"the model's backbone is a plain {type(model.backbone).__name__}, not an adapted one")
    return model.backbone


def fold(model: Classifier, weights: Mapping[str, Tensor]) -> Classifier:
    """Return a plain classifier with these weights in its backbone; the model stays as it is."""
    plain = copy.deepcopy(adapted_backbone(model).plain)
    with torch.no_grad():
        for name, weight in weights.items():
            plain.get_parameter(name).copy_(weight)
    return Classifier(model.normalise, plain.requires_grad_(True), model.head)
