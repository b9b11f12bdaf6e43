"""config/backbones.yaml: architectures."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from robustft.config.common import Component, Count, Maybe, Name, Positive, Shape, Struct, refuse
from robustft.config.methods import Part
from robustft.config.units import fault_of_normalisation


class Normalisation(Struct, frozen=True, kw_only=True):
    """Mean and standard deviation of each channel, of images in [0, 1]."""

    mean: list[float]
    std: list[Positive]

    def __post_init__(self) -> None:
        """Refuse values of images in 0 to 255."""
        refuse(fault_of_normalisation(self.mean, self.std))


class Backbone(Struct, frozen=True, kw_only=True):
    """An architecture. `gflop` is the work of a forward pass over one image of `shape` (C, H, W), in 1e9 operations.

    `weights` is the number of its weights. Without them a plan counts with those of a ResNet-18. `head` is a linear
    layer unless given.
    """

    title: str
    implementation: Component
    parameters: dict[str, Any]
    normalisation: Normalisation
    shape: Shape
    gflop: Maybe[Positive] = UNSET
    weights: Maybe[Count] = UNSET
    head: Maybe[Part] = UNSET

    def __post_init__(self) -> None:
        """Refuse a normalisation of another number of channels than the images have."""
        given, channels = len(self.normalisation.mean), self.shape[0]
        if given not in (1, channels):
            raise ValueError(f"the normalisation is of {given} channels, the shape (C, H, W) has {channels}")


class Backbones(Struct, frozen=True, kw_only=True):
    """The catalogue of architectures."""

    backbones: dict[Name, Backbone]
