"""Architectures by name: of timm, torchvision or open_clip, of RobustBench's files, or a user's function."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from robustft.errors import RobustftError, nearest
from robustft.models.foreign.normalisation import Normalisation, usual
from robustft.models.foreign.small_networks import NAMED, small_network

LIBRARIES = ("timm", "torchvision", "open_clip", "robustbench")


@dataclass(frozen=True)
class Architecture:
    """What builds a network, and what its library says about its images."""

    name: str
    build: Callable[..., nn.Module]
    """A function of `classes` and `channels`, each a number or None for the default."""
    normalisation: Normalisation | None = None
    side: int | None = None
    """Side of the images that published weights were trained with, in pixels."""
    own: bool = False
    """Whether it is a function of the user's, whose model may normalise its images itself."""


def architecture(name: str) -> Architecture:
    """Return the architecture `LIBRARY:NAME`, or `MODULE:FUNCTION` of the user's own.

    Raises RobustftError for an unknown name, with the nearest one, and for a module that cannot be imported.
    """
    library, colon, inner = name.partition(":")
    if not colon or not inner:
        raise RobustftError(
            f"there is no architecture '{name}'",
            expected=f"{', '.join(f'{one}:NAME' for one in LIBRARIES)}, or MODULE:FUNCTION of your own",
            next_step=f"did you mean 'timm:{name}'?" if name else None,
        )
    makers = {"timm": _timm, "torchvision": _torchvision, "open_clip": _open_clip, "robustbench": _robustbench}
    return makers[library](inner) if library in makers else _function(library, inner)


def _timm(name: str) -> Architecture:
    import timm

    if not timm.is_model(name):
        raise RobustftError(f"timm has no model '{name}'", next_step=nearest(name, timm.list_models()))
    published = timm.models.get_pretrained_cfg(name)
    found, side = None, None
    if published is not None and published.mean:
        found = Normalisation(tuple(published.mean), tuple(published.std), f"timm's configuration of {name}")
        side = published.input_size[-1]

    def build(*, classes: int | None = None, channels: int | None = None) -> nn.Module:
        stated = {"num_classes": classes, "in_chans": channels}
        given: dict[str, Any] = {key: value for key, value in stated.items() if value}
        return timm.create_model(name, pretrained=False, **given)

    return Architecture(f"timm:{name}", build, found, side)


def _torchvision(name: str) -> Architecture:
    from torchvision import models  # type: ignore[import-untyped]

    names = models.list_models(module=models)
    if name not in names:
        raise RobustftError(f"torchvision has no classifier '{name}'", next_step=nearest(name, names))
    preset = models.get_model_weights(name).DEFAULT.transforms()  # type: ignore[attr-defined]
    found = Normalisation(tuple(preset.mean), tuple(preset.std), f"torchvision's weights of {name}")

    def build(*, classes: int | None = None, channels: int | None = None) -> nn.Module:
        if channels not in (None, 3):
            raise RobustftError(f"torchvision's {name} reads three channels", observed=channels)
        # Inception's and GoogLeNet's second heads are used in training alone.
        quick = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
        given = {} if classes is None else {"num_classes": classes}
        return models.get_model(name, weights=None, **quick, **given)

    return Architecture(f"torchvision:{name}", build, found, preset.crop_size[0])


def _robustbench(name: str) -> Architecture:
    make = small_network(name)
    if make is None:
        known = [*NAMED, "WideResNet-28-10", "WideResNet-34-10", "WideResNet-34-10-trades", "WideResNet-70-16"]
        raise RobustftError(f"there is no layout '{name}' of RobustBench here", next_step=nearest(name, known))

    def build(*, classes: int | None = None, channels: int | None = None) -> nn.Module:
        if channels not in (None, 3):
            raise RobustftError(f"{name} reads three channels", observed=channels)
        return make(classes=classes or 10)

    return Architecture(f"robustbench:{name}", build, None, 32)


def _open_clip(name: str) -> Architecture:
    from robustft.models.foreign.text_classifier import zero_shot_builder
    from robustft.runtime.imports import import_without

    with import_without("transformers"):
        import open_clip
    if name not in open_clip.list_models():
        raise RobustftError(f"open_clip has no model '{name}'", next_step=nearest(name, open_clip.list_models()))
    side = open_clip.get_model_config(name)["vision_cfg"].get("image_size", 224)
    side = side if isinstance(side, int) else side[0]
    return Architecture(
        f"open_clip:{name}", zero_shot_builder(name), usual("clip", known_from=f"open_clip's default for {name}"), side
    )


def _function(module: str, name: str) -> Architecture:
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        similar = nearest(module, LIBRARIES)
        raise RobustftError(
            f"the module '{module}' cannot be imported",
            observed=f"{type(error).__name__}: {error}",
            next_step=similar if similar.startswith("did") else "run it in the folder that holds the module",
        ) from error
    if not callable(make := getattr(imported, name, None)):
        public = [key for key, value in vars(imported).items() if callable(value) and key[0] != "_"]
        raise RobustftError(f"the module {module} has no function '{name}'", next_step=nearest(name, public))
    accepted = inspect.signature(make).parameters

    def build(*, classes: int | None = None, channels: int | None = None) -> nn.Module:
        given: dict[str, Any] = {"classes": classes, "num_classes": classes, "channels": channels, "in_chans": channels}
        try:
            made = make(**{key: value for key, value in given.items() if value is not None and key in accepted})
        except Exception as error:
            raise RobustftError(
                f"{module}:{name} failed", observed=f"{type(error).__name__}: {error}", next_step="mend the function"
            ) from error
        if not isinstance(made, nn.Module):
            raise RobustftError(
                f"{module}:{name} returns no model", expected="a torch.nn.Module", observed=type(made).__name__
            )
        return made

    return Architecture(f"{module}:{name}", build, own=True)
