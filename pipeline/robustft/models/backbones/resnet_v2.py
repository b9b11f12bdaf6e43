"""Pre-activation residual networks (He et al., ECCV 2016) for small images, in the form of Chen et al. (CVPR 2020).

Their released code differs from the textbook in three places, as its parameter counts show: the stem has a batch norm
and a ReLU, projection shortcuts have a batch norm, and nothing follows the last stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, *, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class PreActivation(nn.Module):
    """Batch norm and ReLU before each convolution; only the sum follows the last one.

    An identity shortcut takes the raw input, a projection the activated one (1x1 convolution and batch norm).
    """

    def __init__(self, convolutions: Sequence[nn.Conv2d], *, stride: int) -> None:
        super().__init__()
        inputs, outputs = convolutions[0].in_channels, convolutions[-1].out_channels
        self.out_channels = outputs
        self.norms = nn.ModuleList(nn.BatchNorm2d(convolution.in_channels) for convolution in convolutions)
        self.convolutions = nn.ModuleList(convolutions)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_conv(inputs, outputs, size=1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, H, W) to (n, outputs, H/stride, W/stride), sizes rounded up."""
        y = active = F.relu(self.norms[0](x), inplace=True)  # the input is not read again
        y = self.convolutions[0](y)
        for norm, convolution in zip(self.norms[1:], self.convolutions[1:], strict=True):
            y = convolution(F.relu(norm(y), inplace=True))
        return y + (x if self.shortcut is None else self.shortcut(active))


def basic(inputs: int, width: int, *, stride: int) -> PreActivation:
    """Two 3x3 convolutions, `width` channels out."""
    return PreActivation([_conv(inputs, width, size=3, stride=stride), _conv(width, width, size=3)], stride=stride)


def bottleneck(inputs: int, width: int, *, stride: int) -> PreActivation:
    """1x1 to `width`, 3x3 with the stride, 1x1 to four times `width`."""
    convolutions = [
        _conv(inputs, width, size=1),
        _conv(width, width, size=3, stride=stride),
        _conv(width, 4 * width, size=1),
    ]
    return PreActivation(convolutions, stride=stride)


BLOCKS = {"basic": basic, "bottleneck": bottleneck}


class ResNetV2(nn.Module):
    """`trunk` (stem and three stages: theta_p, which pre-training shares) and `stage4`; 3x3 stem, no max pooling.

    Pooling is global, so the input may have any size, down to one pixel.

    Args:
        channels: of the input images.
        width: of the stem and of the first stage's blocks; each later stage halves the size and doubles the width.
        blocks: number of blocks in each of the four stages ([3, 4, 6, 3] bottlenecks of width 64 are ResNet-50v2).
        block: kind of block.
    """

    trunk_features: int

    def __init__(
        self, *, channels: int, width: int, blocks: Sequence[int], block: Literal["basic", "bottleneck"]
    ) -> None:
        super().__init__()
        if len(blocks) != 4:
            raise ValueError(f"a trunk of three stages and a fourth one need 4 numbers of blocks, not {list(blocks)}")
        inputs, stages = width, list[nn.Module]()
        for number, depth in enumerate(blocks):
            layers = []
            for position in range(depth):
                stride = 2 if number and not position else 1
                layers.append(BLOCKS[block](inputs, width * 2**number, stride=stride))
                inputs = layers[-1].out_channels
            stages.append(nn.Sequential(*layers))
            if number == 2:
                self.trunk_features = inputs
        stem = nn.Sequential(_conv(channels, width, size=3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.trunk = nn.Sequential(stem, *stages[:3])
        self.stage4 = stages[3]
        self.out_features = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to features (n, out_features)."""
        return pooled(self.stage4(self.trunk(x)))


def pooled(x: Tensor) -> Tensor:
    """Return the mean over pixels, (n, C, H, W) -> (n, C)."""
    return x.mean(dim=(2, 3))
