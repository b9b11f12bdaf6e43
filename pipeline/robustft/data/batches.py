"""Batches from images held on the device: order and augmentation are functions of (seed, epoch, step)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from robustft.data.imagefile import Split
from robustft.errors import ConfigError
from robustft.runtime.randomness import generator

HELD_SHARE, HELD_BYTES = 1 / 8, 64 << 20
"""The largest part of a GPU's free memory, or bytes of the machine's, that a split may fill; else it stays in its file.

For a CPU a copy of the split is faster than its file for very small images only, because the system caches the file.
"""
COPIED_AT_A_TIME = 512
"""Images of a split on their way to a GPU: its share of a GPU may be more than this machine has."""


@dataclass(frozen=True)
class Images:
    """A split for a device: labels (n,) int64, the level of full white, and pixels (n, C, H, W) uint8.

    The pixels are on the device, or, if they are too many (`stored`), read from the data file batch by batch.
    """

    pixels: Tensor | None
    labels: Tensor
    levels: int
    stored: Split | None = None

    @classmethod
    def of(cls, split: Split, device: torch.device, *, hold: bool = True) -> Images:
        """Copy a split to a device, or only its labels if its images are many or are cropped at random.

        `hold`: false for what is used once, as evaluation does: the pixels stay in the file, however few they are.
        """
        labels = torch.from_numpy(split.labels).to(device)
        most = HELD_SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else HELD_BYTES
        if not hold or split.sizes is not None or split.image_bytes > most:
            return cls(None, labels, split.levels, split)
        pixels = torch.empty((len(labels), *split.shape), dtype=torch.uint8, device=device)
        for start in range(0, len(labels), COPIED_AT_A_TIME):
            part = pixels[start : start + COPIED_AT_A_TIME]
            part.copy_(torch.from_numpy(split.take(np.arange(start, start + len(part)))))
        return cls(pixels, labels, split.levels, split)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Return images (b, C, H, W) float32 in [0, 1] and labels (b,)."""
        if self.pixels is not None:
            return self.pixels[index].float().div_(self.levels), self.labels[index]
        pixels = torch.from_numpy(self._split.take(self._positions(index))).to(self.labels.device)
        return pixels.float().div_(self.levels), self.labels[index]

    def drawn(self, index: Tensor, augmentation: Mapping[str, Any], draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return augmented images (b, C, H, W) float32 in [0, 1] and labels (b,); all draws from `draws`.

        `augmentation` has `flip`, and either `pad` or `random_resized_crop`.
        """
        if not augmentation.get("random_resized_crop", False):
            x, y = self.take(index)
            return augment(x, pad=augmentation["pad"], flip=augmentation["flip"], draws=draws), y
        pictures = [self._split.picture(int(position)) for position in self._positions(index)]
        crops = random_resized_crops(pictures, shape=self._split.shape, draws=draws, device=self.labels.device)
        # Weights that sum to one up to rounding can leave white a hair above full.
        return augment(
            (crops / self.levels).clamp_(0.0, 1.0), pad=0, flip=augmentation["flip"], draws=draws
        ), self.labels[index]

    @property
    def _split(self) -> Split:
        assert self.stored is not None, "images that are not held must be stored"
        return self.stored

    def _positions(self, index: Tensor | slice) -> np.ndarray:
        if isinstance(index, slice):
            return np.arange(len(self))[index]
        positions: np.ndarray = index.cpu().numpy()
        return positions


CROP_AREA, CROP_RATIO, CROP_TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Of random resized crops: share of the area, width over height, tries before the middle is taken."""


def crop_boxes(sizes: Tensor, draws: torch.Generator) -> Tensor:
    """Return a random box (top, left, height, width) for each picture of sizes (n, 2), as torchvision draws them.

    Szegedy et al., CVPR 2015: the box has a share of the picture's area and a ratio of width to height, uniform in
    CROP_AREA and log-uniform in CROP_RATIO; the first of ten that fits is taken, else the largest middle one.
    """
    n = len(sizes)
    height, width = sizes[:, :1].double(), sizes[:, 1:].double()
    share, ratio, top, left = torch.rand(
        4, n, CROP_TRIES, generator=draws, device=draws.device, dtype=torch.float64
    ).cpu()
    area = height * width * (CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * share)
    low, high = (math.log(bound) for bound in CROP_RATIO)
    ratio = torch.exp(low + (high - low) * ratio)
    w, h = torch.sqrt(area * ratio).round(), torch.sqrt(area / ratio).round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    boxes = torch.stack([torch.floor(top * (height - h + 1)), torch.floor(left * (width - w + 1)), h, w], dim=2)
    first = fits.int().argmax(dim=1)
    fitting = boxes[torch.arange(n), first].long()
    middle = torch.stack([_middle_box(int(a), int(b)) for a, b in sizes.tolist()])
    return torch.where(fits.any(dim=1, keepdim=True), fitting, middle)


def _middle_box(height: int, width: int) -> Tensor:
    """Return the largest box in the middle whose ratio of width to height is within CROP_RATIO."""
    h, w = height, width
    if width < CROP_RATIO[0] * height:
        h = round(width / CROP_RATIO[0])
    elif width > CROP_RATIO[1] * height:
        w = round(height * CROP_RATIO[1])
    return torch.tensor([(height - h) // 2, (width - w) // 2, h, w])


def random_resized_crops(
    pictures: Sequence[np.ndarray], *, shape: Sequence[int], draws: torch.Generator, device: torch.device
) -> Tensor:
    """Return random boxes of pictures (C, h, w) uint8, each resized to `shape` (C, H, W), as (n, C, H, W) float32.

    Bilinear, with antialiasing, as on pictures that are not rounded to whole levels afterwards.
    """
    sizes = torch.tensor([picture.shape[1:] for picture in pictures])
    crops = []
    for picture, (top, left, height, width) in zip(pictures, crop_boxes(sizes, draws).tolist(), strict=True):
        box = np.ascontiguousarray(picture[:, top : top + height, left : left + width])
        pixels = torch.from_numpy(box).to(device).float()[None]
        crops.append(F.interpolate(pixels, tuple(shape[1:]), mode="bilinear", align_corners=False, antialias=True))
    return torch.cat(crops)


def augment(x: Tensor, *, pad: int, flip: bool, draws: torch.Generator) -> Tensor:
    """Zero-pad by `pad` and crop back at a random place, then mirror half of the images; all draws from `draws`."""
    n, _, height, width = x.shape
    if pad:
        padded = F.pad(x, (pad, pad, pad, pad))
        offset = torch.randint(0, 2 * pad + 1, (2, n), generator=draws, device=x.device)
        rows = (offset[0, :, None] + torch.arange(height, device=x.device))[:, :, None]
        columns = (offset[1, :, None] + torch.arange(width, device=x.device))[:, None, :]
        which = torch.arange(n, device=x.device)[:, None, None]
        x = padded.permute(0, 2, 3, 1)[which, rows, columns].permute(0, 3, 1, 2)
        # `contiguous` would leave the strides of grey images alone, and torch takes those for channels-last, whatever
        # `memory_format` chose for the model.
        x = x.clone(memory_format=torch.contiguous_format)
    if flip:
        mirrored = torch.rand(n, generator=draws, device=x.device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return x


def in_order(images: Images, batch_size: int = 512) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield all images in [0, 1] and their labels, in batches, as they are stored."""
    for start in range(0, len(images), batch_size):
        yield images.take(slice(start, start + batch_size))


class AuxiliaryBatches:
    """As many auxiliary images as a batch has, step by step: shuffled passes over the auxiliary images.

    Args:
        images: the auxiliary images.
        classes: which of their classes to use, (c,) int64; None for all.
        offset: added to their labels.
        batch_size: of a full batch; step n begins at n x batch_size, so that no pass repeats an image.
        augmentation: of the auxiliary images (see `Images.drawn`).
    """

    def __init__(
        self,
        images: Images,
        *,
        classes: Tensor | None,
        offset: int,
        batch_size: int,
        seed: int,
        augmentation: Mapping[str, Any],
    ) -> None:
        self._images, self._offset, self._seed, self._augmentation = images, offset, seed, augmentation
        self._batch_size = batch_size
        used = torch.isin(images.labels, classes) if classes is not None else torch.ones_like(images.labels).bool()
        self._members = used.nonzero().squeeze(1)
        self._orders: dict[int, Tensor] = {}
        """The order of the passes that the last step was in: of a million images it takes milliseconds to draw."""

    def get(self, step: int, count: int) -> tuple[Tensor, Tensor]:
        """Return images (count, C, H, W) in [0, 1] and their labels (count,) counted on from the offset."""
        members, positions = self._members, step * self._batch_size + torch.arange(count)
        passes, within = positions // len(members), positions % len(members)
        index = torch.empty(count, dtype=torch.int64)
        numbers = sorted(set(passes.tolist()))
        self._orders = {one: self._orders[one] if one in self._orders else self._order(one) for one in numbers}
        for number, order in self._orders.items():
            index[passes == number] = order[within[passes == number]]
        draws = generator(members.device, self._seed, "augment companions", step)
        x, y = self._images.drawn(members[index.to(members.device)], self._augmentation, draws)
        return x, y + self._offset

    def _order(self, number: int) -> Tensor:
        draws = generator("cpu", self._seed, "companions", number)
        return torch.randperm(len(self._members), generator=draws)


class Batches:
    """The batches of a training run, each named by (epoch, position).

    A last batch that leaves one of `processes` processes a single image is dropped: batch statistics, and the two wings
    of TWINS, need two images.
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
        draws = generator(index.device, self._seed, "augment", epoch, position)
        return self._images.drawn(index, self._augmentation, draws)
