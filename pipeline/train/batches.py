"""Batches from images held on the device: order and augmentation are functions of (seed, epoch, step)."""

from __future__ import annotations

from collections.abc import Iterator
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


def in_order(images: Images, batch_size: int = 512) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images in [0, 1] and their labels, in batches, as they are stored."""
    for start in range(0, len(images), batch_size):
        yield images.take(slice(start, start + batch_size))


class Companions:
    """As many auxiliary images as a batch has, step by step: shuffled passes over the auxiliary images.

    Args:
        images: the auxiliary images.
        classes: which of their classes to use, (c,) int64; None for all.
        offset: added to their labels.
        batch_size: of a full batch; step n begins at n x batch_size, so that no pass repeats an image.
        flip: whether half of them are mirrored.
    """

    def __init__(
        self, images: Images, *, classes: Tensor | None, offset: int, batch_size: int, seed: int, flip: bool
    ) -> None:
        self._images, self._offset, self._seed, self._flip = images, offset, seed, flip
        self._batch_size = batch_size
        used = torch.isin(images.labels, classes) if classes is not None else torch.ones_like(images.labels).bool()
        self._members = used.nonzero().squeeze(1)

    def get(self, step: int, count: int) -> tuple[Tensor, Tensor]:
        """Return images (count, C, H, W) in [0, 1] and their labels (count,) counted on from the offset."""
        members, positions = self._members, step * self._batch_size + torch.arange(count)
        passes, within = positions // len(members), positions % len(members)
        index = torch.empty(count, dtype=torch.int64)
        for number in sorted(set(passes.tolist())):
            order = torch.randperm(len(members), generator=generator("cpu", self._seed, "companions", number))
            index[passes == number] = order[within[passes == number]]
        x, y = self._images.take(members[index.to(members.device)])
        draws = generator(x.device, self._seed, "augment companions", step)
        return augment(x, pad=0, flip=self._flip, draws=draws), y + self._offset


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
