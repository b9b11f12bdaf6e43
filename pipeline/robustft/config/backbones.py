"""config/backbones.yaml: architectures."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from robustft.config.common import Component, Count, Maybe, Name, Positive, Shape, Struct
from robustft.config.methods import Part


class Normalisation(Struct, frozen=True, kw_only=True):
    """Mean and standard deviation of each channel, of images in [0, 1]."""

    mean: list[float]
    std: list[Positive]


class Backbone(Struct, frozen=True, kw_only=True):
    """An architecture. `gflop` is the work of a forward pass over one image of `shape` (C, H, W), in 1e9 operations.

    `weights` is the number of its weights. `head` is a linear layer unless given.
    """

    title: str
    implementation: Component
    parameters: dict[str, Any]
    normalisation: Normalisation
    shape: Shape
    gflop: Positive
    weights: Count
    head: Maybe[Part] = UNSET


class Backbones(Struct, frozen=True, kw_only=True):
    """The catalogue of architectures."""

    backbones: dict[Name, Backbone]
