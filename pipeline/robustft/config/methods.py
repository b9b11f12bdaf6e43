"""Methods: in config/methods.yaml for every paper, and in each paper for itself."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET

from robustft.config.common import Color, Component, Maybe, Name, Names, PartialRecipe, PartialThreat, Struct


class Part(Struct, frozen=True, kw_only=True):
    """A class or function and its parameters."""

    implementation: Component
    parameters: Maybe[dict[str, Any]] = UNSET


class Method(Struct, rename={"from_": "from"}, frozen=True, kw_only=True):
    """An objective (`implementation`) over the weights of a `tuning`, or a `derivation` `from` other runs.

    With both, training starts from the derived model. `pretraining` and `recipe` override the experiment's. `threat`
    overrides what it is trained against; evaluations judge all methods by the experiment's.
    `pretrained_parts` are the parts of the pre-trained model to load, by default all. `trains_on` is the split, `color`
    the colour of its lines in figures (default: one of a palette).
    """

    title: str
    color: Maybe[Color] = UNSET
    implementation: Maybe[Component] = UNSET
    parameters: Maybe[dict[str, Any]] = UNSET
    tuning: Maybe[Part] = UNSET
    pretraining: Maybe[Name] = UNSET
    pretrained_parts: Maybe[list[str]] = UNSET
    recipe: PartialRecipe = UNSET
    threat: PartialThreat = UNSET
    trains_on: Maybe[Literal["train", "validation"]] = UNSET
    from_: Maybe[Names] = UNSET
    derivation: Maybe[Part] = UNSET
    note: Maybe[str] = UNSET
    uses_auxiliary: Maybe[bool] = UNSET

    def __post_init__(self) -> None:
        """Refuse a method that is neither trained nor derived."""
        Struct.__post_init__(self)
        if self.implementation is UNSET and self.from_ is UNSET:
            raise ValueError("give 'implementation' or 'from'")


class Methods(Struct, frozen=True, kw_only=True):
    """The methods by name."""

    methods: dict[Name, Method]
