"""The one file that a source is decoded into: pixels, labels and every data set's splits, in safetensors.

Written and read by own code, because safetensors needs all pixels in memory to write them and maps the file to read it.

Tensors: `labels` (N,) int64, `<data set>/<split>` (n,) int64 positions, and last `images` (N, C, H, W) uint8. Images of
sizes that differ lie one after another in a flat `images`, with `sizes` (N, 3) int32 of each. Pixels are written as
they come and read where they lie, so neither side holds more than it is working on.
Metadata: one JSON text under `robustft`. One key only: the format writes several in an order of its own.
"""

from __future__ import annotations

import json
import math
import os
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open

from robustft.errors import IntegrityError
from robustft.files import atomic_path, canonical_json

_DTYPES = {"int64": "I64", "int32": "I32", "uint8": "U8"}
_MOST = 10**15
"""Stands for the number of pixels while it is not known: no file has more, and its digits hold the place."""


class StoredPixels:
    """The tensor `images` (N, ...) uint8 of a file, whose rows are read when they are asked for.

    It is no memory map. The pages of a map count as this process's memory, for which a scheduler may kill it, and their
    tables (2 MB for each GB) stay. The system's file cache serves all processes and is given up first.
    """

    def __init__(self, path: Path) -> None:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            entry = json.loads(stream.read(length))["images"]
        self.shape: tuple[int, ...] = tuple(entry["shape"])
        self._row_bytes, self._start = math.prod(self.shape[1:]), 8 + length + entry["data_offsets"][0]
        self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __getitem__(self, index: np.ndarray | np.integer[Any] | slice) -> np.ndarray:
        """Return the rows at positions (b,), one row, or the rows from `start` to `stop`, as numpy does, in memory."""
        inner = self.shape[1:]
        if isinstance(index, np.ndarray):
            rows = np.empty((len(index), *inner), dtype=np.uint8)
            for row, place in zip(rows, index.tolist(), strict=True):
                self._fill(row, place)
            return rows
        start, shape = (index.start, (index.stop - index.start, *inner)) if isinstance(index, slice) else (index, inner)
        images = np.empty(shape, dtype=np.uint8)
        self._fill(images, int(start))
        return images

    def _fill(self, rows: np.ndarray, start: int) -> None:
        if os.preadv(self._file, [rows.data], self._start + start * self._row_bytes) != rows.nbytes:
            raise IntegrityError(
                "the data file ends early", expected=f"images {self.shape}", observed=f"not row {start}"
            )


@dataclass(frozen=True)
class Split:
    """Labels (n,) int64 counted from 0 within the classes, and where their images are.

    `levels` is full white. `shape` (C, H, W) is what a model sees: of a larger picture its centre.
    """

    labels: np.ndarray
    levels: int
    indices: np.ndarray
    """(n,) int64 positions of the images in their source: what the ledger calls an image."""
    pixels: np.ndarray | StoredPixels
    """Of the whole source: (N, C, H, W) uint8, or flat if sizes differ."""
    shape: tuple[int, int, int]
    sizes: np.ndarray | None = None
    """(N, 3) int32, C, H and W of each picture of the source; None if all have one shape."""
    names: list[str] | None = None
    """Of the classes, where the source brings names."""
    starts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(N,) int64, where each picture begins in flat pixels."""

    @property
    def images(self) -> np.ndarray:
        """All images, (n, C, H, W) uint8, in memory."""
        return self.take(np.arange(len(self.indices)))

    @property
    def image_bytes(self) -> int:
        """What `images` takes in memory."""
        return len(self.indices) * math.prod(self.shape)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return images (b, C, H, W) uint8 by their positions in the split: of larger pictures the centre."""
        if self.sizes is None:
            return self.pixels[self.indices[positions]]
        return np.stack([centre(self.picture(int(position)), self.shape) for position in positions])

    def picture(self, position: int) -> np.ndarray:
        """Return one whole picture (C, H, W) uint8."""
        index = self.indices[position]
        if self.sizes is None:
            whole: np.ndarray = self.pixels[index]
            return whole
        size, start = self.sizes[index], self.starts[index]
        return self.pixels[start : start + int(size.astype(np.int64).prod())].reshape(size)


def centre(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the middle (C, H, W) of a picture at least that large, as torchvision's CenterCrop rounds."""
    top, left = (round((length - side) / 2.0) for length, side in zip(picture.shape[1:], shape[1:], strict=True))
    return picture[:, top : top + shape[1], left : left + shape[2]]


def _header(tensors: Mapping[str, tuple[str, list[int]]], about: dict[str, Any], *, length: int = 0) -> bytes:
    """Return the head of a file: its length in 8 bytes, and a JSON text filled with spaces to `length`."""
    widths = {"I64": 8, "I32": 4, "U8": 1}
    entries, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + widths[dtype] * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = canonical_json({"__metadata__": {"robustft": canonical_json(about)}, **entries}).encode()
    length = max(length, -(-len(text) // 8) * 8)  # so that the first tensor begins at a multiple of eight
    return length.to_bytes(8, "little") + text.ljust(length)


def save(path: Path, **content: Any) -> None:
    """Write the file atomically; `content` is what `write` takes, and the errors are its own."""
    with atomic_path(path) as part:
        write(part, **content)


def write(
    path: Path,
    *,
    images: Iterable[np.ndarray],
    labels: np.ndarray,
    splits: Mapping[str, np.ndarray],
    about: dict[str, Any],
    ragged: bool = False,
) -> None:
    """Write the file in place, taking the images (C, H, W) uint8 one by one.

    Raises IntegrityError if there are not as many images as labels, or their shapes differ and it is not `ragged`.
    """
    arrays = {"labels": labels, **dict(sorted(splits.items()))}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    sizes = np.zeros((len(labels), 3), dtype=np.int32)
    if ragged:
        arrays["sizes"] = sizes
    known = {name: (_DTYPES[str(array.dtype)], list(array.shape)) for name, array in arrays.items()}
    blank = _header({**known, "images": ("U8", [_MOST] * 4)}, about)
    with open(path, "wb") as stream:
        stream.write(blank)
        for array in arrays.values():
            stream.write(array.tobytes())
        _write_images(stream, images, sizes, ragged=ragged)
        shape = [int(sizes.astype(np.int64).prod(axis=1).sum())] if ragged else [len(labels), *map(int, sizes[0])]
        stream.seek(0)
        stream.write(_header({**known, "images": ("U8", shape)}, about, length=len(blank) - 8))
        for array in arrays.values():
            stream.write(array.tobytes())


def _write_images(stream: BinaryIO, images: Iterable[np.ndarray], sizes: np.ndarray, *, ragged: bool) -> None:
    count = 0
    for count, image in enumerate(images, start=1):
        if (
            count > len(sizes)
            or image.dtype != np.uint8
            or (not ragged and count > 1 and (image.shape != sizes[0]).any())
        ):
            raise IntegrityError(
                f"image {count} does not fit the others",
                expected=f"{len(sizes)} images, uint8, {tuple(map(int, sizes[0]))}",
                observed=f"{image.dtype}, {image.shape}",
            )
        sizes[count - 1] = image.shape
        stream.write(np.ascontiguousarray(image).tobytes())
    if count != len(sizes):
        raise IntegrityError("there are not as many images as labels", expected=len(sizes), observed=count)


def load_split(path: Path, *, dataset: str, split: str) -> Split:
    """Open one split; pixels are read when they are asked for.

    Raises IntegrityError if the file is truncated or lacks the split.
    """
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads(file.metadata()["robustft"])
            indices = file.get_tensor(f"{dataset}/{split}")
            labels = file.get_tensor("labels")[indices]
            sizes = file.get_tensor("sizes") if "sizes" in file.keys() else None  # noqa: SIM118 (not a mapping)
        pixels, view = StoredPixels(path), about["datasets"][dataset]
        number = {label: index for index, label in enumerate(view["classes"])}
        counted = np.array([number[int(label)] for label in labels], dtype=np.int64)
        names = [about["names"][label] for label in view["classes"]] if about.get("names") else None
        if sizes is None:
            return Split(counted, about["levels"], indices, pixels, pixels.shape[1:], names=names)  # type: ignore[arg-type]
        ends = sizes.astype(np.int64).prod(axis=1).cumsum()
        starts = np.concatenate([[0], ends[:-1]])
        return Split(counted, about["levels"], indices, pixels, tuple(about["shape"]), sizes, names, starts)
    except (SafetensorError, KeyError, TypeError, IndexError, ValueError, OSError) as error:
        raise IntegrityError(
            f"the data file cannot give {dataset}/{split}",
            where=path,
            observed=f"{type(error).__name__}: {error}",
            next_step="delete it and run snakemake; it will be made again",
        ) from error


def class_texts(prompts: list[str] | dict[str, str] | None, split: Split) -> list[str] | None:
    """Return a text for each class: those that are given, or a template over the names that the source brings.

    {template, drop}: `drop` is left out of each name.
    """
    if not isinstance(prompts, dict):
        return prompts
    if split.names is None:
        raise IntegrityError("the data file brings no class names for the template", observed=prompts["template"])
    return [prompts["template"].format(name.replace(prompts.get("drop", ""), "")) for name in split.names]
