"""What self-supervised tasks need of images and models: a grid of patches, permutations of it, heads of their own.

Chen et al. (CVPR 2020). The heads are tunings, so a checkpoint of pre-training can be built again from its entry in
the configuration; fine-tuning loads its trunk only.
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
    """Cut images (n, C, H, W) into patches (n, rows * columns, C, H / rows, W / columns), row by row."""
    rows, columns = grid
    n, channels, height, width = x.shape
    if height % rows or width % columns:
        raise ValueError(f"a grid of {rows} x {columns} does not divide images of {height} x {width} pixels")
    patches = x.reshape(n, channels, rows, height // rows, columns, width // columns)
    return patches.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def join(patches: Tensor, grid: Sequence[int]) -> Tensor:
    """Put patches (n, rows * columns, C, h, w) together to images (n, C, rows * h, columns * w): the inverse of cut."""
    rows, columns = grid
    n, _, channels, height, width = patches.shape
    cells = patches.reshape(n, rows, columns, channels, height, width)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(n, channels, rows * height, columns * width)


@functools.cache
def draw_permutations(cells: int, count: int, seed: int) -> Tensor:
    """Return the identity and `count` other permutations of `cells`, (count + 1, cells) int64, uniform and distinct.

    A function of its arguments alone. Cell i of an image rearranged by row p shows what was in cell p[i].
    """
    if count >= math.factorial(cells):
        raise ConfigError(f"there are no {count} permutations of {cells} patches besides the identity")
    draws = torch.Generator().manual_seed(seed)
    table = [list(range(cells))]
    while len(table) <= count:
        drawn = torch.randperm(cells, generator=draws, device="cpu").tolist()
        if drawn not in table:
            table.append(drawn)
    return torch.tensor(table, device="cpu")


def sha256_of(table: Tensor) -> str:
    """Return the SHA-256 of a table of permutations: its rows as decimal numbers, a line each."""
    text = "".join(" ".join(map(str, row)) + "\n" for row in table.tolist())
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def permutations(table: Mapping[str, Any]) -> Tensor:
    """Return the permutations that {grid, count, seed, sha256} describes; the first is the identity.

    Raises IntegrityError if they are not those of the hash: another version's generator would mean other classes.
    """
    rows, columns = table["grid"]
    drawn = draw_permutations(rows * columns, table["count"], table["seed"])
    if sha256_of(drawn) != table["sha256"]:
        raise IntegrityError(
            f"the permutations of a {rows} x {columns} grid drawn from seed {table['seed']} are others than stated",
            expected=table["sha256"],
            observed=sha256_of(drawn),
            next_step="correct the table's sha256 in the configuration, or use the locked version of torch",
        )
    return drawn


class PermutationHead(nn.Linear):
    """A linear layer with a logit for each permutation, which carries the permutations themselves."""

    permutations: Tensor

    def __init__(self, in_features: int, permutations: Tensor) -> None:
        super().__init__(in_features, len(permutations))
        self.register_buffer("permutations", permutations.clone())


@dataclass(frozen=True, kw_only=True)
class RotationHead(Tuning):
    """Train everything, with a head for the four angles."""

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
