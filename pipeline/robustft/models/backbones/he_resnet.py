"""The residual networks for CIFAR of He et al. (CVPR 2016), with shortcut A: it adds no weights.

The paper's section 4.2: a 3x3 convolution, then three stages of n blocks with 16, 32 and 64 channels, 6n + 2 layers.
Where a stage halves the size, its shortcut takes every second pixel and fills up new channels with zeros. The paper
does not say on which side; the published networks that this module reads have half of the zeros before the channels
and half after them (github akamaster/pytorch_resnet_cifar10).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (16, 32, 64)


def _conv(inputs: int, outputs: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut without weights."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.zeros = (outputs - inputs) // 2
        """Channels of zeros on either side of the shortcut's."""
        self.conv1, self.bn1 = _conv(inputs, outputs, stride=self.stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = _conv(outputs, outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, H, W) to (n, outputs, H/stride, W/stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.zeros, self.zeros))
        return F.relu(y + x, inplace=True)


class HeResNet(nn.Module):
    """A residual network of 6n + 2 layers for images of 32 x 32 pixels.

    Args:
        channels: of the input images.
        blocks: n, the number of blocks in each of the three stages.
    """

    def __init__(self, *, channels: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(channels, WIDTHS[0]), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU(inplace=True))
        self.out_features = WIDTHS[-1]
        widths = [WIDTHS[0], *(width for width in WIDTHS for _ in range(blocks))]
        self.stages = nn.Sequential(*map(Block, widths, widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to features (n, 64) by global average pooling."""
        return self.stages(self.stem(x)).mean(dim=(2, 3))
