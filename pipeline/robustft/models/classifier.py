"""The form of every model: normalisation, backbone and head, from images in [0, 1] to logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from robustft.errors import ConfigError
from robustft.parallel.sharded_batch import sharded_forward
from robustft.runtime.components import locate
from robustft.speed.optimizations import Optimizable


class Normalise(nn.Module):
    """Subtract a mean and divide by a standard deviation for each channel. Attacks work on the images before it."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise images (n, C, H, W)."""
        return (x - self.mean) / self.std


class Classifier(Optimizable):
    """Images (n, C, H, W) in [0, 1] -> logits (n, K): head(backbone(normalise(x)))."""

    def __init__(self, normalise: nn.Module, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.normalise, self.backbone, self.head = normalise, backbone, head

    @sharded_forward
    def features(self, x: Tensor) -> Tensor:
        """Return the backbone's features (n, D)."""
        features: Tensor = self.backbone(self.normalise(x))
        return features

    @sharded_forward
    def forward(self, x: Tensor) -> Tensor:
        """Return logits (n, K)."""
        logits: Tensor = self.head(self.features(x))
        return logits


def build_classifier(
    backbone: dict[str, Any], *, shape: list[int], classes: int, prompts: list[str] | None = None
) -> Classifier:
    """Build a model with fresh weights, drawn from torch's global generator.

    Args:
        backbone: {implementation, parameters, normalisation, head}. The class takes `channels` and its parameters, and
            has `out_features`. `head` is {implementation, parameters}, or a linear layer if not given.
        shape: (C, H, W) of the images.
        classes: number of logits K.
        prompts: one text for each class, for a head that reads texts.

    Raises:
        ConfigError: the normalisation is for another number of channels.
    """
    mean, std = backbone["normalisation"]["mean"], backbone["normalisation"]["std"]
    if not len(mean) == len(std) == shape[0]:
        raise ConfigError(
            f"the normalisation of backbone '{backbone.get('name')}' does not fit the images",
            where="config/backbones.yaml",
            expected=f"{shape[0]} channels",
            observed=f"{len(mean)} means, {len(std)} standard deviations",
        )
    body = locate(backbone["implementation"])(channels=shape[0], **backbone["parameters"])
    if backbone.get("head") is None:
        return Classifier(Normalise(mean, std), body, nn.Linear(body.out_features, classes))
    parameters = backbone["head"].get("parameters", {})
    head = locate(backbone["head"]["implementation"])(body.out_features, classes=classes, prompts=prompts, **parameters)
    return Classifier(Normalise(mean, std), body, head)


def derived(models: list[Classifier], derivation: dict[str, Any] | None) -> Classifier:
    """Return the model that a derivation {implementation, parameters} makes of several; without one, the only model."""
    if derivation is None:
        (model,) = models
        return model
    combined: Classifier = locate(derivation["implementation"])(models, **derivation.get("parameters", {}))
    return combined


def attack_target(attack: dict[str, Any], model: nn.Module) -> nn.Module:
    """Return the model that an attack queries: the evaluated one, or what `module:function` makes of it."""
    if attack["target"] == "exported_model":
        return model
    target: nn.Module = locate(attack["target"])(model)
    return target
