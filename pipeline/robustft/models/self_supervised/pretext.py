"""Rotation and jigsaw: images cut into a grid of patches, permutations of the patches, and the heads of both tasks.

Chen et al. (CVPR 2020). The heads are tunings, so `load_classifier` can build a pre-trained model again. Fine-tuning
loads only the trunk.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustft.errors import ConfigError, IntegrityError
from robustft.models.classifier import Classifier
from robustft.models.tunings.protocol import Tuning


def cut(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Cut images (n, C, H, W) into patches (n, rows * columns, C, H / rows, W / columns), row by row.

    Raises ValueError if the grid (rows, columns) does not divide the images.
    """
    rows, columns = grid
    n, channels, height, width = x.shape
    if height % rows or width % columns:
        raise ValueError(f"a grid of {rows} x {columns} does not divide images of {height} x {width} pixels")
    patches = x.reshape(n, channels, rows, height // rows, columns, width // columns)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join(patches: Tensor, grid: Sequence[int]) -> Tensor:
    """Join patches (n, rows * columns, C, h, w) to images (n, C, rows * h, columns * w): the inverse of `cut`."""
    rows, columns = grid
    n, _, channels, height, width = patches.shape
    cells = patches.reshape(n, rows, columns, channels, height, width)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(n, channels, rows * height, columns * width)


@functools.cache
def draw_permutations(cells: int, count: int, seed: int) -> Tensor:
    """Return the identity and `count` other permutations of `cells`, (count + 1, cells) int64, uniform and distinct.

    Equal arguments give equal tables. A row p moves the patch of cell p[i] to cell i. Raises ConfigError if there are
    too few permutations.
    """
    if count >= math.factorial(cells):
        raise ConfigError(f"there are no {count} permutations of {cells} patches besides the identity")
    draws = torch.Generator().manual_seed(seed)
    table = [list(range(cells))]
    while len(table) <= count:
        permutation = torch.randperm(cells, generator=draws, device="cpu").tolist()
        if permutation not in table:
            table.append(permutation)
    return torch.tensor(table, device="cpu")


def sha256_of(table: Tensor) -> str:
    """Return the SHA-256 of a table of permutations, written as one line of decimal numbers for each row."""
    text = "".join(" ".join(map(str, row)) + "\n" for row in table.tolist())
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def permutations(table: Mapping[str, Any]) -> Tensor:
    """Return the permutations of {grid, count, seed, sha256}, (count + 1, cells) int64; the first is the identity.

    Raises IntegrityError if they do not have the hash: another version of torch may draw others, which would be other
    classes.
    """
    rows, columns = table["grid"]
    permutations = draw_permutations(rows * columns, table["count"], table["seed"])
    if sha256_of(permutations) != table["sha256"]:
        raise IntegrityError(
            f"the permutations of a {rows} x {columns} grid drawn from seed {table['seed']} have another hash",
            expected=table["sha256"],
            observed=sha256_of(permutations),
            next_step="correct the table's sha256 in the configuration, or use the locked version of torch",
        )
    return permutations


class PermutationHead(nn.Linear):
    """A linear layer with one logit for each permutation; the permutations are a buffer of it."""

    permutations: Tensor

    def __init__(self, in_features: int, permutations: Tensor) -> None:
        super().__init__(in_features, len(permutations))
        self.register_buffer("permutations", permutations.clone())


@dataclass(frozen=True, kw_only=True)
class RotationHead(Tuning):
    """Train everything, with a head of four logits for the angles 0, 90, 180 and 270 degrees."""

    attached: ClassVar[bool] = True

    def prepare(self, model: Classifier) -> Classifier:
        """Replace the head."""
        model.head = nn.Linear(model.backbone.out_features, 4)  # type: ignore[arg-type]
        return model


@dataclass(frozen=True, kw_only=True)
class JigsawHead(Tuning):
    """Train everything, with a head for the permutations {grid, count, seed, sha256}."""

    table: Mapping[str, Any]
    attached: ClassVar[bool] = True

    def prepare(self, model: Classifier) -> Classifier:
        """Replace the head."""
        model.head = PermutationHead(model.backbone.out_features, permutations(self.table))  # type: ignore[arg-type]
        return model
