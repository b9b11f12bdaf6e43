"""Batch norm with two wings: one uses the statistics of pre-training, the other those of the current batch.

The wings share all other weights of the network (Liu et al., CVPR 2023, Figure 2).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

Wing = Literal["frozen", "adaptive", "both"]


class TwoWingBatchNorm2d(nn.Module):
    """Two batch norms that start as copies of a pre-trained one.

    `frozen` always normalises with the mean and variance of pre-training, which never change. `adaptive` is an ordinary
    batch norm. Each has its own trainable scale and shift. `wing` chooses between them. With "both", the first half of
    the batch (the larger one if the batch is odd) takes the frozen wing and the second half the adaptive one.
    """

    def __init__(self, pretrained: nn.BatchNorm2d) -> None:
        super().__init__()
        self.frozen = copy.deepcopy(pretrained)
        self.adaptive = copy.deepcopy(pretrained)
        self.wing: Wing = "adaptive"
        self.frozen.eval()

    def train(self, mode: bool = True) -> TwoWingBatchNorm2d:
        """Set the mode of the adaptive wing; the frozen wing stays in evaluation mode."""
        super().train(mode)
        self.frozen.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, C, H, W) with the chosen wing, or each half with its own."""
        if self.wing == "frozen":
            return self.frozen(x)
        if self.wing == "adaptive":
            return self.adaptive(x)
        first, second = halves(x)
        # torch.cat makes one contiguous tensor; later layers may need it.
        return torch.cat([self.frozen(first), self.adaptive(second)])


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two halves of a batch (n, ...), n at least 2; the first has the extra image of an odd batch."""
    if len(x) < 2:
        raise ValueError(f"two wings need a batch of at least 2, not {len(x)}")
    middle = (len(x) + 1) // 2
    return x[:middle], x[middle:]


def _replace(module: nn.Module, kind: type[nn.Module], make: type[nn.Module] | object) -> nn.Module:
    if isinstance(module, kind):
        replacement: nn.Module = make(module)  # type: ignore[operator]
        return replacement
    for name, child in module.named_children():
        setattr(module, name, _replace(child, kind, make))
    return module


def to_two_wings(model: nn.Module) -> nn.Module:
    """Replace every BatchNorm2d in place by a TwoWingBatchNorm2d of two copies; return the model."""
    return _replace(model, nn.BatchNorm2d, TwoWingBatchNorm2d)


def to_adaptive_wing(model: nn.Module) -> nn.Module:
    """Replace every TwoWingBatchNorm2d in place by its adaptive batch norm; return the model, now an ordinary one."""
    return _replace(model, TwoWingBatchNorm2d, lambda module: module.adaptive)


@contextlib.contextmanager
def using(model: nn.Module, wing: Wing) -> Iterator[None]:
    """Use `wing` in every two-wing layer of the model within the context."""
    layers = [module for module in model.modules() if isinstance(module, TwoWingBatchNorm2d)]
    before = [layer.wing for layer in layers]
    for layer in layers:
        layer.wing = wing
    try:
        yield
    finally:
        for layer, wing_before in zip(layers, before, strict=True):
            layer.wing = wing_before
