"""What a source of labelled images is: its labels, its files with their hashes, and one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


class Read(Protocol):
    """Reads one image by its position.

    Returns (C, H, W), uint8 out of 255 or float32 in [0, 1]. `side` in pixels: the shorter side is resized to 8/7 of it
    and the middle square of that side is cut; None leaves the image as it is.
    """

    def __call__(self, position: int, /, *, side: int | None = None) -> np.ndarray:
        """Return one image."""


@dataclass(frozen=True)
class Collection:
    """N labelled images in a fixed order."""

    place: str
    """The folder or file, as it was named."""
    labels: np.ndarray
    """(N,) int64 from 0 on."""
    files: Mapping[str, str]
    """SHA-256 of each file, by its path below `place` or its name."""
    read: Read = field(repr=False)
    size_of: Callable[[int], tuple[int, int]] = field(repr=False)
    """Height and width of one image by its position; it is not decoded for that."""
    classes: Sequence[str] | None = None
    """A name for each label; None if the source brings none."""
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The source's own splits, such as train and test: positions (n,) int64."""

    @property
    def count(self) -> int:
        """The number of classes."""
        return len(self.classes) if self.classes is not None else int(self.labels.max()) + 1
