"""Small residual networks with batch norm for images of 8 to 32 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, *, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, outputs, size=3, stride=stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs, size=3), nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(_conv(inputs, outputs, size=1, stride=stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, H, W) to (n, outputs, H/stride, W/stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)  # the input is not read again
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """A 3x3 stem, then stages of basic blocks; each stage after the first halves the size and doubles the width.

    Args:
        channels: of the input images.
        width: of the stem and the first stage.
        blocks: number of blocks in each stage.
    """

    def __init__(self, *, channels: int, width: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(channels, width, size=3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        stages: list[nn.Module] = []
        inputs = width
        for number, depth in enumerate(blocks):
            outputs = width * 2**number
            for block in range(depth):
                stages.append(BasicBlock(inputs, outputs, stride=2 if number and not block else 1))
                inputs = outputs
        self.stages = nn.Sequential(*stages)
        self.out_features = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to features (n, out_features) by global average pooling."""
        return self.stages(self.stem(x)).mean(dim=(2, 3))
