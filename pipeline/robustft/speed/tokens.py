"""The parts of vision transformers, as products of contiguous matrices.

The libraries' own modules give the same numbers, up to rounding, for more work. They compute every token, also those
that are not read. For gradients of images alone they use slow kernels: a convolution whose stride is its kernel size,
and projections of transposed sequences.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

QUERIES, KEYS_AND_VALUES = slice(0, 1), slice(1, 3)
"""Thirds of the outputs of a layer that makes queries, keys and values."""


def hooked(*modules: nn.Module) -> bool:
    """Tell whether a module has a hook: then it must be called, or its hook would not run."""
    return any(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
        for module in modules
    )


def patches(images: Tensor, kernel: nn.Conv2d) -> Tensor:
    """Return the tokens (n, patches, D) of images (n, C, H, W), row by row, from a convolution that strides by patches.

    H and W are multiples of the kernel's height and width; it has no padding.
    """
    if hooked(kernel):
        convolved: Tensor = kernel(images)
        return convolved.flatten(2).transpose(1, 2)
    (height, width), (n, channels) = kernel.kernel_size, images.shape[:2]
    rows, columns = images.shape[2] // height, images.shape[3] // width
    split = images.reshape(n, channels, rows, height, columns, width).permute(0, 2, 4, 1, 3, 5)
    return F.linear(split.reshape(n, rows * columns, -1), kernel.weight.flatten(1), kernel.bias)


def thirds(weight: Tensor, bias: Tensor | None, tokens: Tensor, which: slice) -> Tensor:
    """Return some thirds of a linear map of tokens (n, T, D), with weight (3 D, D) and bias (3 D): (n, T, D or 2 D)."""
    size = len(weight) // 3
    rows = slice(which.start * size, which.stop * size)
    return F.linear(tokens, weight[rows], None if bias is None else bias[rows])


def in_heads(tokens: Tensor, heads: int, parts: int) -> tuple[Tensor, ...]:
    """Split (n, T, parts x D) into `parts` tensors (n, heads, T, D / heads), such as queries, keys and values."""
    n, length = tokens.shape[:2]
    return tokens.reshape(n, length, parts, heads, -1).permute(2, 0, 3, 1, 4).unbind()


def one(tokens: Tensor, at: int) -> Tensor:
    """Return one token of each image, (n, 1, D), contiguous, as fast products need it."""
    return tokens[:, at : at + 1].contiguous()


def applied(x: Tensor, *modules: nn.Module) -> Tensor:
    """Apply modules one after the other, except those that do nothing.

    timm's blocks have a dozen of these each; in small networks calling them costs as much as all products.
    """
    for module in modules:
        idle = type(module) is nn.Identity or (type(module) is nn.Dropout and module.p == 0)
        x = x if idle else module(x)
    return x


def in_full(block: nn.Module, tokens: Tensor, *, prompts: Tensor | None, only: int | None) -> Tensor:
    """Call a block on prompts (1, L, D) and tokens (n, T, D) and drop what is not read: (n, T, D) or (n, 1, D)."""
    if prompts is not None:
        tokens = torch.cat([prompts.expand(len(tokens), -1, -1), tokens], dim=1)
    output: Tensor = block(tokens)
    output = output if prompts is None else output[:, prompts.shape[1] :]
    return output if only is None else one(output, only)
