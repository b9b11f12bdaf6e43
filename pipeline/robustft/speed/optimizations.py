"""Optimizations: ways to the same numbers, up to rounding, for less work. A scale can switch off each one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Optimizations:
    """Which optimizations are pulled.

    input_gradients: attacks differentiate with respect to the images alone, and the weights keep no books meanwhile;
        off, gradients of all trained weights are computed at each step of an attack and thrown away.
    folded_batch_norm: batch norms in evaluation mode are folded into the convolutions before them.
    channels_last: images and the weights of convolutions are stored pixel by pixel, all channels of one together;
        folded convolutions of small maps on a CPU are not (`suits_channels_last`).
    needed_tokens: a vision transformer computes no token that nobody reads: in the last block only the class token's,
        and of prompts that the next block replaces only keys and values, once for all images; patches and attention
        are plain products of contiguous matrices. Off, it is timm's or open_clip's own forward.
    one_pass: where no layer mixes images (no batch norm), a loss takes clean and adversarial images in one pass.
    settled_images: AutoAttack computes nothing for an image whose outcome is known.
    fused_optimizer: one kernel updates all weights.
    """

    input_gradients: bool = True
    folded_batch_norm: bool = True
    channels_last: bool = True
    needed_tokens: bool = True
    one_pass: bool = True
    settled_images: bool = True
    fused_optimizer: bool = True

    @classmethod
    def of(cls, spec: Mapping[str, bool]) -> Optimizations:
        """Build from a specification; what it does not name is pulled."""
        return cls(**spec)


class Optimizable(nn.Module):
    """A module that has a shorter way; `optimizations` says whether it is taken."""

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
    """Tell every module of a model which optimizations are pulled."""
    for module in model.modules():
        if isinstance(module, Optimizable):
            module.optimizations = optimizations
