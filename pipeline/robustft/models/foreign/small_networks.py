"""Residual networks for small images under the names that RobustBench's checkpoints and the like use.

The networks are those of `models/backbones/`; here the names are others, so that files load as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from robustft.errors import RobustftError


def _conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class _Block(nn.Module):
    """Two convolutions with batch norm; the shortcut is a projection, or strides and zero channels (option A)."""

    def __init__(self, inputs: int, width: int, stride: int, *, projection: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(inputs, width, stride=stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width), nn.BatchNorm2d(width)
        self.stride, self.added = stride, width - inputs
        self.shortcut = nn.Sequential()
        if (stride != 1 or inputs != width) and projection:
            self.shortcut = nn.Sequential(_conv(inputs, width, 1, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if len(self.shortcut) or not (self.added or self.stride > 1):
            return F.relu(y + self.shortcut(x))
        padded = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(y + padded)


class CifarResNet(nn.Module):
    """A residual network of basic blocks: `conv1`, `bn1`, `layer1` on, `linear` (He et al., CVPR 2016)."""

    def __init__(self, blocks: list[int], width: int, *, classes: int = 10, projection: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, width), nn.BatchNorm2d(width)
        inputs = width
        for number, count in enumerate(blocks):
            layers: list[nn.Module] = []
            for block in range(count):
                outputs = width * 2**number
                layers.append(_Block(inputs, outputs, 2 if number and not block else 1, projection=projection))
                inputs = outputs
            setattr(self, f"layer{number + 1}", nn.Sequential(*layers))
        self.stages = len(blocks)
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (n, 3, H, W) to logits (n, K)."""
        y = F.relu(self.bn1(self.conv1(x)))
        for number in range(self.stages):
            y = getattr(self, f"layer{number + 1}")(y)
        return self.linear(y.mean(dim=(2, 3)))


class _PreActBlock(nn.Module):
    """Batch norm and ReLU before each convolution; a projection takes the activated input."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv(inputs, width, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), _conv(width, width)
        if stride != 1 or inputs != width:
            self.shortcut = nn.Sequential(_conv(inputs, width, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        shortcut = self.shortcut(active) if hasattr(self, "shortcut") else x
        return self.conv2(F.relu(self.bn2(self.conv1(active)))) + shortcut


class PreActResNet(nn.Module):
    """A pre-activation residual network of four stages: `conv1`, `layer1` to `layer4`, `bn`, `linear`."""

    def __init__(self, blocks: list[int], *, classes: int = 10, last_norm: bool = True) -> None:
        super().__init__()
        self.conv1, inputs = _conv(3, 64), 64
        for number, count in enumerate(blocks):
            layers: list[nn.Module] = []
            for block in range(count):
                layers.append(_PreActBlock(inputs, 64 * 2**number, 2 if number and not block else 1))
                inputs = 64 * 2**number
            setattr(self, f"layer{number + 1}", nn.Sequential(*layers))
        self.bn = nn.BatchNorm2d(inputs) if last_norm else nn.Identity()
        self.last_norm = last_norm
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (n, 3, H, W) to logits (n, K)."""
        y = self.conv1(x)
        for number in range(1, 5):
            y = getattr(self, f"layer{number}")(y)
        y = F.relu(self.bn(y)) if self.last_norm else y
        return self.linear(y.mean(dim=(2, 3)))


class _WideBlock(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), _conv(inputs, width, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), _conv(width, width)
        self.convShortcut = None if inputs == width else _conv(inputs, width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (x if self.convShortcut is None else self.convShortcut(active))


class _WideStage(nn.Module):
    def __init__(self, inputs: int, width: int, blocks: int, stride: int) -> None:
        super().__init__()
        layers = [_WideBlock(inputs if not k else width, width, 1 if k else stride) for k in range(blocks)]
        self.layer = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class WideResNet(nn.Module):
    """A wide residual network: `conv1`, `block1` to `block3`, `bn1`, `fc` (Zagoruyko and Komodakis, BMVC 2016).

    `sub_block`: with the second copy of the first stage that TRADES' released class holds and never uses.
    """

    def __init__(self, depth: int, widen: int, *, classes: int = 10, sub_block: bool = False) -> None:
        super().__init__()
        blocks, widths = (depth - 4) // 6, [16, 16 * widen, 32 * widen, 64 * widen]
        self.conv1 = _conv(3, widths[0])
        self.block1 = _WideStage(widths[0], widths[1], blocks, 1)
        if sub_block:
            self.sub_block1 = _WideStage(widths[0], widths[1], blocks, 1)
        self.block2 = _WideStage(widths[1], widths[2], blocks, 2)
        self.block3 = _WideStage(widths[2], widths[3], blocks, 2)
        self.bn1, self.fc = nn.BatchNorm2d(widths[3]), nn.Linear(widths[3], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (n, 3, H, W) to logits (n, K)."""
        y = F.relu(self.bn1(self.block3(self.block2(self.block1(self.conv1(x))))))
        return self.fc(y.mean(dim=(2, 3)))


NAMED: dict[str, Callable[..., nn.Module]] = {
    "ResNet-18": partial(CifarResNet, [2, 2, 2, 2], 64),
    "ResNet-34": partial(CifarResNet, [3, 4, 6, 3], 64),
    "PreActResNet-18": partial(PreActResNet, [2, 2, 2, 2]),
    "PreActResNet-18-without-last-norm": partial(PreActResNet, [2, 2, 2, 2], last_norm=False),
    **{
        f"ResNet-{6 * n + 2}": partial(CifarResNet, [n, n, n], 16, projection=False)
        for n in (3, 7, 9, 18)  # 20, 44, 56 and 110 layers
    },
    "ResNet-32": partial(CifarResNet, [5, 5, 5], 16, projection=False),
}

WIDE = re.compile(r"WideResNet-(\d+)-(\d+)(-trades)?$")


def small_network(name: str) -> Callable[..., nn.Module] | None:
    """Return what builds a network by its name, such as `WideResNet-28-10`; None if there is none.

    Raises RobustftError for a wide network of an impossible depth.
    """
    if name in NAMED:
        return NAMED[name]
    if not (found := WIDE.match(name)):
        return None
    depth, widen = int(found[1]), int(found[2])
    if (depth - 4) % 6 or depth < 10 or not 1 <= widen <= 32:
        raise RobustftError(f"there is no {name}", expected="a depth of 6n + 4, such as WideResNet-28-10")
    return partial(WideResNet, depth, widen, sub_block=bool(found[3]))
