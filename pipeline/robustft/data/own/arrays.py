"""Images and labels as arrays of an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from robustft.data.own.collection import Collection
from robustft.errors import IntegrityError, RobustftError
from robustft.files import sha256_file

IMAGES = ("images", "x", "x_test", "test_images", "data", "arr_0")
LABELS = ("labels", "label", "y", "y_test", "test_labels", "targets", "arr_1")
"""Names under which the arrays are looked for, in this order."""

CHANNELS = (1, 3)


def read_npz(path: Path, *, hashed: bool = True) -> Collection:
    """Return the images and labels of an .npz file of numpy.

    `images` are (N, C, H, W), (N, H, W, C) or (N, H, W) with one or three channels: uint8 out of 255, or floating point
    in [0, 1]. `labels` are (N,) whole numbers from 0 on; `classes`, if it is there, has a name for each.

    Raises:
        IntegrityError: the file is damaged or holds objects instead of numbers.
        RobustftError: an array is missing, of another form or out of its range.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise IntegrityError(
            "the .npz file cannot be read",
            where=path,
            expected="arrays of numbers (np.savez)",
            observed=f"{type(error).__name__}: {error}",
        ) from error
    images = _named(arrays, IMAGES, "images", path)
    names = arrays.get("classes")
    return collection_of(
        images,
        _named(arrays, LABELS, "labels", path),
        place=str(path),
        files={path.name: sha256_file(path) if hashed else ""},
        classes=None if names is None else [str(name) for name in names.tolist()],
    )


def collection_of(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    place: str,
    files: dict[str, str] | None = None,
    classes: list[str] | None = None,
) -> Collection:
    """Return arrays as a collection. Raises RobustftError if they are not as `read_npz` says."""
    images = _as_images(images, place)
    labels = _as_labels(labels, len(images), place)
    if classes is not None and len(classes) <= int(labels.max()):
        raise RobustftError(
            "a label has no class name", where=place, expected=f"at most {len(classes) - 1}", observed=int(labels.max())
        )
    height, width = images.shape[2:]
    return Collection(
        place=place,
        labels=labels,
        files=files or {},
        read=_Rows(images, place),
        size_of=lambda _: (height, width),
        classes=classes,
    )


class _Rows:
    """Returns one image of an array."""

    def __init__(self, images: np.ndarray, place: str) -> None:
        self.images, self.place = images, place

    def __call__(self, position: int, /, *, side: int | None = None) -> np.ndarray:
        """Return one image as it is. Raises RobustftError if it is to have another side."""
        if side is not None and self.images.shape[2:] != (side, side):
            raise RobustftError(
                "arrays are not resized",
                where=self.place,
                expected=f"{side} x {side}",
                observed=" x ".join(map(str, self.images.shape[2:])),
                next_step="leave --size out, or resize the images before they are saved",
            )
        image: np.ndarray = self.images[position]
        return image


def _named(arrays: dict[str, np.ndarray], names: tuple[str, ...], what: str, path: Path) -> np.ndarray:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise RobustftError(
        f"the .npz file has no {what}",
        where=path,
        expected=f"an array named {', '.join(names[:-1])} or {names[-1]}",
        observed=", ".join(sorted(arrays)) or "no array",
        next_step="np.savez(path, images=images, labels=labels)",
    )


def _as_images(images: np.ndarray, place: str) -> np.ndarray:
    """Return images as (N, C, H, W), uint8 or float32 in [0, 1]."""
    if images.ndim == 3:
        images = images[:, None]
    fits = images.ndim == 4 and len(images) and images.dtype.kind in "uif"
    if fits and images.shape[1] not in CHANNELS and images.shape[3] in CHANNELS:
        images = np.moveaxis(images, 3, 1)
    if not fits or images.shape[1] not in CHANNELS:
        raise RobustftError(
            "the images have another form",
            where=place,
            expected="(N, C, H, W), (N, H, W, C) or (N, H, W) numbers with one or three channels",
            observed=f"{images.shape} of {images.dtype}",
        )
    if images.dtype == np.uint8:
        return images
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1) or images.dtype.kind != "f":
        raise RobustftError(
            "images must lie in [0, 1]",
            where=place,
            expected="uint8 from 0 to 255, or floating point from 0 to 1",
            observed=f"{images.dtype} from {low:.4g} to {high:.4g}",
            next_step="undo the normalisation, and name it with --normalisation"
            if low < 0
            else "divide by the value of full white",
        )
    return images.astype(np.float32)


def _as_labels(labels: np.ndarray, images: int, place: str) -> np.ndarray:
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    whole = labels.dtype.kind in "uif" and bool(np.all(labels == np.round(labels)))
    if labels.shape != (images,) or not whole or labels.min() < 0:
        raise RobustftError(
            "the labels do not fit the images",
            where=place,
            expected=f"({images},) whole numbers from 0 on",
            observed=f"{labels.shape} of {labels.dtype}" + (f", from {labels.min()}" if whole and labels.size else ""),
            next_step="give one class number for each image",
        )
    return labels.astype(np.int64)
