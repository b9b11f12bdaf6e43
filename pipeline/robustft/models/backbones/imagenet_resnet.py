"""The residual networks of ImageNet: timm's networks with torchvision's names, so that torchvision's weights load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch.nn.functional as F
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor

BLOCKS: dict[str, Any] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ImageNetResNet(ResNet):
    """Images (n, C, H, W) -> features (n, out_features) by global average pooling (He et al., CVPR 2016).

    7x7 stem of stride 2 and max pooling; the stride of a bottleneck is on its 3x3 convolution.

    Args:
        channels: of the input images.
        blocks: number of blocks in each of the four stages ([3, 4, 6, 3] bottlenecks are ResNet-50).
        block: kind of block.
        upsample: smaller images are enlarged to a square of this many pixels a side by repeating pixels (TWINS for
            CIFAR). This is part of the model, so attacks work on the original pixels.
    """

    def __init__(
        self,
        *,
        channels: int,
        blocks: Sequence[int],
        block: Literal["basic", "bottleneck"],
        upsample: int | None = None,
    ) -> None:
        super().__init__(BLOCKS[block], tuple(blocks), num_classes=0, in_chans=channels, zero_init_last=False)
        self.out_features = self.num_features
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images to features."""
        if self.upsample is not None and min(x.shape[-2:]) < self.upsample:
            x = F.interpolate(x, size=(self.upsample, self.upsample), mode="nearest")
        features: Tensor = super().forward(x)
        return features
