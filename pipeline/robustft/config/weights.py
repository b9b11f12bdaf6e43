"""config/weights.yaml: published weights and how they are read."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from robustft.config.common import Component, Count, File, Maybe, Name, Sha256, Shape, Struct, Whole, require


class Weights(Struct, frozen=True, kw_only=True):
    """A published pre-trained model.

    It is a download (`file`), a file of an installed package, or one of this machine (`path`). `shape` is (C, H, W) of
    its input images,
    `classes` the number of its logits, 0 for none.
    """

    title: str
    reader: Component
    backbone: Name
    shape: Shape
    classes: Whole
    licence: str
    source: str
    file: Maybe[Name] = UNSET
    path: Maybe[str] = UNSET
    package_file: Maybe[str] = UNSET
    sha256: Maybe[Sha256] = UNSET
    bytes: Maybe[Count] = UNSET
    parameters: Maybe[dict[str, Any]] = UNSET

    def __post_init__(self) -> None:
        """Refuse weights without an origin."""
        require(self, ("file",), ("path", "sha256"), ("package_file", "sha256", "bytes"))


class WeightsCatalogue(Struct, frozen=True, kw_only=True):
    """The catalogue of published weights."""

    files: dict[Name, File]
    weights: dict[Name, Weights]
