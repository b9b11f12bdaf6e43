"""Which architecture a state dict fits, if not the one that was named. It compares names and shapes alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from robustft.errors import RobustftError
from robustft.models.foreign.architectures import Architecture, architecture
from robustft.models.foreign.matching import match
from robustft.models.foreign.small_networks import NAMED

COMMON = (
    *(
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "wide_resnet50_2",
        "vgg16",
        "densenet121",
        "mobilenetv3_large_100",
    ),
    *("efficientnet_b0", "convnext_tiny", "convnext_base", "vit_tiny_patch16_224", "vit_small_patch16_224"),
    *("vit_base_patch16_224", "vit_large_patch16_224", "deit_small_patch16_224", "swin_tiny_patch4_window7_224"),
)
"""Architectures of timm and torchvision that are tried, beside those of the family that was named."""

FAMILY = 24
"""At most so many of the family: building one takes tens of milliseconds, without memory for weights."""

ALIKE = 0.5
"""Share of names and shapes below which an architecture is not worth naming."""


def nearest_architecture(state: Mapping[str, Tensor], named: str) -> tuple[str, float] | None:
    """Return the architecture that fits a state dict best and the share of names and shapes that agree."""
    best: tuple[str, float] | None = None
    for candidate in _candidates(named):
        shapes = shapes_of(candidate)
        share = match(state, shapes).share if shapes else 0.0
        if share >= ALIKE and (best is None or share > best[1]):
            best = candidate.name, share
        if share == 1:
            break
    return best


def shapes_of(candidate: Architecture, **given: int | None) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of an architecture's weights, without memory for them; {} if that fails."""
    with contextlib.suppress(RuntimeError, NotImplementedError, ValueError, TypeError, RobustftError):
        with torch.device("meta"):
            network = candidate.build(**given)
        return {name: tuple(tensor.shape) for name, tensor in getattr(network, "clip", network).state_dict().items()}
    return {}


def _candidates(named: str) -> Iterator[Architecture]:
    library, _, name = named.partition(":")
    tried: set[str] = {named}
    for full in (
        *_family(library, name),
        *(f"robustbench:{one}" for one in (*NAMED, "WideResNet-28-10", "WideResNet-34-10")),
    ):
        if full not in tried:
            tried.add(full)
            yield architecture(full)
    for one in COMMON:
        for where in ("torchvision", "timm"):
            if f"{where}:{one}" in tried:
                continue
            with contextlib.suppress(RobustftError):
                yield architecture(f"{where}:{one}")


def _family(library: str, name: str) -> list[str]:
    """Return the names of a library that begin like the one that was named."""
    stem = name.rstrip("0123456789_-x.").split("_")[0].rstrip("0123456789")
    if library == "timm":
        import timm

        names = timm.list_models(f"{stem}*")
    elif library == "torchvision":
        from torchvision import models  # type: ignore[import-untyped]

        names = [one for one in models.list_models(module=models) if one.startswith(stem)]
    else:
        return []
    return [f"{library}:{one}" for one in sorted(names, key=len)[:FAMILY]]
