"""What a loader makes of a source's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Decoded:
    """The images of a source, in an order of its own that never changes.

    A loader is a function of the source's entry in config/datasets.yaml and of its files by role.
    """

    labels: np.ndarray
    """(N,) int64."""
    images: Iterable[np.ndarray]
    """N arrays (C, H, W) uint8, in the order of the labels; they may be decoded one by one, and are read once."""
    names: Sequence[str] | None = None
    """A name for each label, counted from 0, as a prompt wants it."""
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The publisher's parts, such as train and test: (n,) int64 positions."""
    sha256: str | None = None
    """Of a file that was read without being among the step's inputs: one that a package ships."""
