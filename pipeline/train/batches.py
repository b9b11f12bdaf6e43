"""Batches from images held on the device: order and augmentation are functions of (seed, epoch, step)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.imagefile import Split
from pipeline.errors import ConfigError
from pipeline.train.randomness import generator


@dataclass(frozen=True)
class Images:
    """A split on a device: pixels (n, C, H, W) uint8, labels (n,) int64, and the level of full white."""

    pixels: Tensor
    labels: Tensor
    levels: int

    @classmethod
    def of(cls, split: Split, device: torch.device) -> Images:
        """Copy a split to a device."""
        pixels, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
        return cls(pixels.to(device), labels.to(device), split.levels)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return images (b, C, H, W) float32 in [0, 1] and labels (b,)."""
        return self.pixels[index].float() / self.levels, self.labels[index]


def augment(x: Tensor, *, pad: int, flip: bool, draws: torch.Generator) -> Tensor:
    """Zero-pad by `pad` and crop back at a random place, then mirror half of the images; all draws from `draws`."""
    n, _, height, width = x.shape
    if pad:
        padded = F.pad(x, (pad, pad, pad, pad))
        offset = torch.randint(0, 2 * pad + 1, (2, n), generator=draws, device=x.device)
        rows = (offset[0, :, None] + torch.arange(height, device=x.device))[:, :, None]
        columns = (offset[1, :, None] + torch.arange(width, device=x.device))[:, None, :]
        which = torch.arange(n, device=x.device)[:, None, None]
        x = padded.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2).contiguous()
    if flip:
        mirrored = torch.rand(n, generator=draws, device=x.device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return x


class Batches:
    """The batches of a training run, each named by (epoch, position).

    A last batch that leaves one of `processes` processes a single image is dropped: neither batch statistics nor two
    wings can be had from one image.
    """

    def __init__(
        self, images: Images, *, batch_size: int, augmentation: dict[str, Any], seed: int, processes: int = 1
    ) -> None:
        self._images, self._size, self._augmentation, self._seed = images, batch_size, augmentation, seed
        full, rest = divmod(len(images), batch_size)
        least = 2 * processes
        self.per_epoch = (full if batch_size >= least else 0) + (rest >= least)
        if not self.per_epoch:
            raise ConfigError(
                f"no batch gives each of {processes} process(es) two images",
                expected=f"batches of at least {least}",
                observed=f"{len(images)} images in batches of {batch_size}",
                next_step="raise batch_size or lower processes in config/scales/",
            )
        self._order: tuple[int, Tensor] | None = None

    def _epoch_order(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            draws = generator("cpu", self._seed, "order", epoch)
            order = torch.randperm(len(self._images), generator=draws)
            self._order = epoch, order.to(self._images.labels.device)
        return self._order[1]

    def get(self, epoch: int, position: int) -> tuple[Tensor, Tensor]:
        """Return augmented images (b, C, H, W) in [0, 1] and labels (b,)."""
        index = self._epoch_order(epoch)[position * self._size : (position + 1) * self._size]
        x, y = self._images.take(index)
        draws = generator(x.device, self._seed, "augment", epoch, position)
        return augment(x, **self._augmentation, draws=draws), y
