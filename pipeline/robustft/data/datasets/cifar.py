"""CIFAR-10 from its Python archive, CIFAR-100 from its binary one, and CIFAR-10-C.

Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009. Both kinds of archive hold the same images in
the same order. Hendrycks, Dietterich. Benchmarking Neural Network Robustness to Common Corruptions and Perturbations.
ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded
from robustft.data.formats.arrays import from_npy
from robustft.data.formats.dataset_index import FlatArchive, wording
from robustft.data.formats.pickled_arrays import read_arrays
from robustft.errors import IntegrityError
from robustft.runtime.sandbox.decoding import decoding

_PIXELS = 3 * 32 * 32


def cifar10(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return CIFAR-10 (role `archive`): 50,000 images of group train, then 10,000 of group test, (3, 32, 32) uint8.

    The 185 MB are read once. Raises IntegrityError if the archive is damaged or lacks a file.
    """
    archive, root = FlatArchive(files["archive"]), "cifar-10-batches-py"
    train = [f"{root}/data_batch_{number}" for number in range(1, 6)]
    order = [*train, f"{root}/test_batch"]
    meta, *contents = archive.contents(f"{root}/batches.meta", *order)
    batches = [_batch(data, path=archive.path, name=name) for name, data in zip(order, contents, strict=True)]
    where = f"{archive.path}: batches.meta"
    with decoding("the class names of CIFAR-10 are malformed", where=where):
        names = [wording(name) for name in read_arrays(meta, where=where)["label_names"]]
    with decoding("the labels of CIFAR-10 are no numbers", where=archive.path):
        labels = np.concatenate([np.asarray(numbers, dtype=np.int64) for _, numbers in batches])
    first = len(labels) - len(batches[-1][1])
    return Decoded(
        labels=labels,
        images=(image for images, _ in batches for image in images),
        names=names,
        groups={"train": np.arange(first, dtype=np.int64), "test": np.arange(first, len(labels), dtype=np.int64)},
    )


def _batch(data: bytes, *, path: Path, name: str) -> tuple[np.ndarray, list[int]]:
    """Return the images (n, 3, 32, 32) uint8 and the labels of a batch."""
    where = f"{path}: {name}"
    content = read_arrays(data, where=where)
    pixels, labels = content.get("data"), content.get("labels")
    form = getattr(pixels, "shape", None), str(getattr(pixels, "dtype", type(pixels).__name__))
    if pixels is None or not isinstance(labels, list) or form != ((len(labels), _PIXELS), "uint8"):
        raise IntegrityError(
            f"{name} does not hold whole images",
            where=where,
            expected=f"uint8 (n, {_PIXELS}) with n labels",
            observed=form,
        )
    return pixels.reshape(-1, 3, 32, 32), labels


def cifar100(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return CIFAR-100 (role `archive`) with its fine labels; images, groups and errors as `cifar10`."""
    root, archive = "cifar-100-binary", FlatArchive(files["archive"])
    (names,) = archive.rows(f"{root}/fine_label_names.txt")
    return _binary(archive, [f"{root}/train.bin"], f"{root}/test.bin", names=names, labels=2)


def _binary(archive: FlatArchive, train: Sequence[str], test: str, *, names: Sequence[str], labels: int) -> Decoded:
    """Read records of `labels` bytes of labels, of which the last is used, and 3072 of pixels, by plane and row.

    The 185 MB are read once.
    """
    files, path = (*train, test), archive.path
    records = [
        _records(data, labels + _PIXELS, path=path, name=name)
        for name, data in zip(files, archive.contents(*files), strict=True)
    ]
    all_labels = np.concatenate([part[:, labels - 1] for part in records]).astype(np.int64)
    first = len(all_labels) - len(records[-1])
    return Decoded(
        labels=all_labels,
        images=(record[labels:].reshape(3, 32, 32) for part in records for record in part),
        names=[wording(name) for name in names],
        groups={"train": np.arange(first, dtype=np.int64), "test": np.arange(first, len(all_labels), dtype=np.int64)},
    )


def _records(data: bytes, width: int, *, path: Path, name: str) -> np.ndarray:
    if len(data) % width:
        raise IntegrityError(
            f"{name} does not hold whole images", where=path, expected=f"n times {width} bytes", observed=len(data)
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(-1, width)


def cifar10_c(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return CIFAR-10-C (role `archive`): a block for each of `corruptions`, in that order.

    Each block holds the 10,000 test images at severity 1, then at 2, up to 5, as its file does; one file at a time is
    in memory. Images are (3, 32, 32) uint8. Raises IntegrityError if a file is missing or of another form.
    """
    archive, kinds = FlatArchive(files["archive"]), source["corruptions"]
    labels = _array(archive, "labels")
    with decoding("the labels of CIFAR-10-C are no numbers", where=f"{archive.path}: labels"):
        tiled = np.tile(labels.astype(np.int64), len(kinds))
    return Decoded(labels=tiled, images=_corrupted(archive, kinds, images=len(labels)))


def _array(archive: FlatArchive, name: str) -> np.ndarray:
    (data,) = archive.contents(f"CIFAR-10-C/{name}.npy")
    return from_npy(data, where=f"{archive.path}: {name}")


def _corrupted(archive: FlatArchive, kinds: Sequence[str], *, images: int) -> Iterator[np.ndarray]:
    for kind in kinds:
        # A variable would keep the array in memory while the next one is read.
        yield from _block(archive, kind, images=images)


def _block(archive: FlatArchive, kind: str, *, images: int) -> np.ndarray:
    block = _array(archive, kind)
    if block.shape != (images, 32, 32, 3) or block.dtype != np.uint8:
        raise IntegrityError(
            f"'{kind}' has another form than the labels ask for",
            where=archive.path,
            expected=f"uint8 {(images, 32, 32, 3)}",
            observed=f"{block.dtype} {block.shape}",
        )
    return block.transpose(0, 3, 1, 2)
