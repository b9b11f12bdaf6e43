"""The one file that a source is decoded into: pixels, labels and every data set's splits, in safetensors.

Tensors: `images` (N, C, H, W) uint8, `labels` (N,) int64, `<data set>/<split>` (n,) int64 indices.
Metadata: one JSON text under `robustft`. One key only: the format writes several in an order of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pipeline.errors import IntegrityError
from pipeline.files import atomic_path, canonical_json


@dataclass(frozen=True)
class Split:
    """Images (n, C, H, W) uint8 with `levels` as full white, labels (n,) int64 counted from 0 within the classes."""

    images: np.ndarray
    labels: np.ndarray
    levels: int
    indices: np.ndarray
    """(n,) int64 positions of the images in their source: what the ledger calls an image."""


def save(
    path: Path,
    *,
    images: np.ndarray,
    labels: np.ndarray,
    splits: Mapping[str, np.ndarray],
    about: dict[str, Any],
) -> None:
    """Write the file atomically."""
    tensors = {"images": images, "labels": labels, **splits}
    with atomic_path(path) as part:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            part,
            metadata={"robustft": canonical_json(about)},
        )


def load_split(path: Path, *, dataset: str, split: str) -> Split:
    """Read one split; only the images that it holds are read into memory.

    Raises IntegrityError if the file is truncated or lacks the split.
    """
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads(file.metadata()["robustft"])
            indices = file.get_tensor(f"{dataset}/{split}")
            images = file.get_tensor("images")[indices]
            labels = file.get_tensor("labels")[indices]
        number = {label: index for index, label in enumerate(about["datasets"][dataset]["classes"])}
        counted = np.array([number[int(label)] for label in labels], dtype=np.int64)
        return Split(images, counted, about["levels"], indices)
    except (SafetensorError, KeyError, TypeError, IndexError, ValueError, OSError) as error:
        raise IntegrityError(
            f"the data file cannot give {dataset}/{split}",
            where=path,
            observed=f"{type(error).__name__}: {error}",
            next_step="delete it and run snakemake; it will be made again",
        ) from error
