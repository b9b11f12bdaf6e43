"""Bicubic resizing whose backward pass is repeatable on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor


def bicubic(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images (n, C, H, W) to `size` (H', W'), corners not aligned, without antialiasing.

    On a GPU the backward pass of torch's kernel adds in any order, which a repeatable run refuses. There it is two
    products with matrices of the same weights, equal up to rounding.
    """
    if not x.is_cuda:
        return F.interpolate(x, tuple(size), mode="bicubic", align_corners=False)
    return by_matrices(x, size)


def by_matrices(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize as `bicubic` does, by two matrix products in the precision of x, also under autocast."""
    rows, columns = (
        _weights(before, after, x.dtype, x.device) for before, after in zip(x.shape[-2:], size, strict=True)
    )
    with torch.autocast(x.device.type, enabled=False):
        return rows @ x @ columns.T


@cache
def _weights(before: int, after: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the weights (after, before) of a line of pixels in its resized form: a line resized is weights @ line."""
    lines = torch.eye(before, dtype=torch.float64)[None, None]
    weights = F.interpolate(lines, (after, before), mode="bicubic", align_corners=False)[0, 0]
    return weights.to(device, dtype)
