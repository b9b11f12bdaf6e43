"""The optimizations: the same numbers, up to rounding, for less work. A scale's `optimizations` may switch each off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Optimizations:
    """Which optimizations are on.

    folded_batch_norm: during an attack, batch norms are folded into the convolutions before them.
    channels_last: images and the weights of convolutions are stored with the channels of a pixel side by side;
        folded convolutions of small maps on a CPU are not (`suits_channels_last`).
    needed_tokens: a vision transformer computes only the tokens that are read. The last block computes the class
        token alone. Prompts that the next block replaces give keys and values only, once for all images. Patches and
        attention are plain products of contiguous matrices. If off, the forward pass is timm's or open_clip's own.
    settled_images: AutoAttack computes nothing for an image whose outcome is known.
    """

    folded_batch_norm: bool = True
    channels_last: bool = True
    needed_tokens: bool = True
    settled_images: bool = True

    @classmethod
    def of(cls, spec: Mapping[str, bool]) -> Optimizations:
        """Build from a specification; an optimization that it does not name is on."""
        return cls(**spec)


class Optimizable(nn.Module):
    """A module whose forward pass may be optimized; `optimizations` says how."""

    optimizations: Optimizations = Optimizations()


FEWEST_CHANNELS = 16
"""Of a strided 1x1 convolution that may run channels-last on a CPU (see `memory_format`)."""


def memory_format(model: nn.Module, optimizations: Optimizations) -> torch.memory_format:
    """Return how images and the weights of convolutions are stored for a model that is on its device.

    On a CPU oneDNN 3.12 (torch 2.14.1) writes beyond its memory in channels-last 1x1 convolutions with a stride and few
    input channels, seen with 4 and 8 channels on 64 x 64 images, so networks that have one stay as they are.
    """
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    unsafe = any(
        convolution.kernel_size == (1, 1)
        and max(convolution.stride) > 1
        and convolution.in_channels < FEWEST_CHANNELS
        and convolution.weight.device.type == "cpu"
        for convolution in convolutions
    )
    return torch.channels_last if optimizations.channels_last and not unsafe else torch.contiguous_format


MOST_PIXELS, MANY_CHANNELS = 36, 256
"""A convolution giving at most so many pixels and reading at least so many channels is slow channels-last on a CPU."""


def suits_channels_last(convolution: nn.Conv2d, x: Tensor) -> bool:
    """Tell whether a convolution of images x (n, C, H, W) is as quick channels-last as contiguous.

    On a CPU oneDNN's channels-last kernels multiply an image row by row. The rows of a small map are too short to keep
    AVX-512 busy with many channels: there its contiguous kernels, which reorder what they read, are quicker even with
    the reordering. With AVX2 both take about the same. Seen in float32; bfloat16 has kernels of its own.
    """
    pixels = x.shape[2] * x.shape[3] // (convolution.stride[0] * convolution.stride[1])
    wide = convolution.in_channels >= MANY_CHANNELS
    return not (wide and pixels <= MOST_PIXELS and x.device.type == "cpu" and x.dtype is torch.float32)


def apply_optimizations(model: nn.Module, optimizations: Optimizations) -> None:
    """Set the optimizations of every module of a model."""
    for module in model.modules():
        if isinstance(module, Optimizable):
            module.optimizations = optimizations


def optimizations_of(model: nn.Module) -> Optimizations:
    """Return the optimizations of a model: those of its first optimizable module, all on if it has none."""
    optimizable = (module for module in model.modules() if isinstance(module, Optimizable))
    return next((module.optimizations for module in optimizable), Optimizations())
