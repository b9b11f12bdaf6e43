"""CIFAR-10 from its Python archive, CIFAR-100 from its binary one, and CIFAR-10-C.

Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009. Both kinds of archive hold the same images in
the same order. Hendrycks, Dietterich. Benchmarking Neural Network Robustness to Common Corruptions and Perturbations.
ICLR 2019.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded
from robustft.data.formats.archives import read
from robustft.data.formats.dataset_index import contents, rows, wording
from robustft.data.formats.pickled_arrays import read_arrays
from robustft.errors import IntegrityError

_PIXELS = 3 * 32 * 32


def cifar10(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return CIFAR-10 (role `archive`): 50,000 images of group train, then 10,000 of group test, (3, 32, 32) uint8.

    The files are read twice, the labels first; one of them at a time is in memory. Raises IntegrityError if the archive
    is damaged or lacks a file.
    """
    path, root = files["archive"], "cifar-10-batches-py"
    train = [f"{root}/data_batch_{number}" for number in range(1, 6)]
    order = [*train, f"{root}/test_batch"]
    by_file = {
        name: np.asarray(_batch(data, path=path, name=name)[1], dtype=np.int64)
        for name, data in read(path, frozenset(order))
    }
    (meta,) = contents(path, f"{root}/batches.meta")
    labels, first = np.concatenate([by_file[name] for name in order]), sum(len(by_file[name]) for name in train)
    return Decoded(
        labels=labels,
        images=(
            image for name in order for data in contents(path, name) for image in _batch(data, path=path, name=name)[0]
        ),
        names=[wording(name) for name in read_arrays(meta, where=f"{path}: batches.meta")["label_names"]],
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
    root = "cifar-100-binary"
    (names,) = rows(files["archive"], f"{root}/fine_label_names.txt")
    return _binary(files["archive"], [f"{root}/train.bin"], f"{root}/test.bin", names=names, labels=2)


def _binary(path: Path, train: Sequence[str], test: str, *, names: Sequence[str], labels: int) -> Decoded:
    """Read records of `labels` bytes of labels, of which the last is used, and 3072 of pixels, by plane and row.

    The files are read twice, the labels first; one of them at a time is in memory.
    """
    width, files = labels + _PIXELS, (*train, test)
    by_file = {
        name: _records(data, width, path=path, name=name)[:, labels - 1].astype(np.int64)
        for name, data in read(path, frozenset(files))
    }
    all_labels = np.concatenate([by_file[name] for name in files])
    first = len(all_labels) - len(by_file[test])
    return Decoded(
        labels=all_labels,
        images=(
            record[labels:].reshape(3, 32, 32)
            for name in files
            for data in contents(path, name)
            for record in _records(data, width, path=path, name=name)
        ),
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
    path, kinds = files["archive"], source["corruptions"]
    labels = _array(path, "labels")
    return Decoded(
        labels=np.tile(labels.astype(np.int64), len(kinds)), images=_corrupted(path, kinds, images=len(labels))
    )


def _array(path: Path, name: str) -> np.ndarray:
    (data,) = contents(path, f"CIFAR-10-C/{name}.npy")
    try:
        array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise IntegrityError(
            "an array of CIFAR-10-C cannot be read", where=f"{path}: {name}", observed=error
        ) from error
    return array


def _corrupted(path: Path, kinds: Sequence[str], *, images: int) -> Iterator[np.ndarray]:
    for kind in kinds:
        yield from _block(
            path, kind, images=images
        )  # a variable would keep the array in memory while the next one is read


def _block(path: Path, kind: str, *, images: int) -> np.ndarray:
    block = _array(path, kind)
    if block.shape != (images, 32, 32, 3) or block.dtype != np.uint8:
        raise IntegrityError(
            f"'{kind}' has another form than the labels ask for",
            where=path,
            expected=f"uint8 {(images, 32, 32, 3)}",
            observed=f"{block.dtype} {block.shape}",
        )
    return block.transpose(0, 3, 1, 2)
