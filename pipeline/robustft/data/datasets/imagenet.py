"""ImageNet-1k: Russakovsky et al. ImageNet Large Scale Visual Recognition Challenge. IJCV 2015; and at 32 pixels.

The 32-pixel version: Chrabaszcz, Loshchilov, Hutter. A Downsampled Variant of ImageNet. arXiv 1707.08819.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded
from robustft.data.formats.arrays import from_npz
from robustft.data.formats.dataset_index import (
    Classes,
    DatasetIndex,
    FlatArchive,
    NestedArchive,
    pictures,
    wording,
)
from robustft.data.formats.matlab import variables
from robustft.errors import IntegrityError
from robustft.runtime.sandbox.decoding import decoding

_DEVKIT = "ILSVRC2012_devkit_t12/data"
_PIXELS = 3 * 32 * 32


def load(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the images of role `train`, if it is given, then those of role `validation`, as groups train and test.

    Labels are places among the sorted WordNet ids, as in class folders; they are not the devkit's numbers. A class's
    name is its first in the devkit (role `devkit`). Images are (3, H, W) uint8 at the source's `geometry`. Raises
    IntegrityError if an archive is damaged, lacks a file or disagrees with the devkit.
    """
    words, by_number, truth = _devkit(files["devkit"])
    label = Classes(sorted(words), where=files["devkit"])
    names = [wording(words[wnid].split(",")[0]) for wnid in label]
    labels = {
        f"ILSVRC2012_val_{number:08d}.JPEG": label[wnid]
        for number, wnid in enumerate((by_number[line] for line in truth), start=1)
    }
    parts = {"test": pictures(FlatArchive(files["validation"]), DatasetIndex(labels), source)}
    if "train" in files:
        parts = {"train": _training(files["train"], label, source), **parts}
    return _joined(parts, names)


def _devkit(path: Path) -> tuple[dict[str, str], dict[int, str], list[int]]:
    """Return the words of each WordNet id, the id that each number stands for, and each validation image's number."""
    archive, listed = FlatArchive(path), f"{_DEVKIT}/ILSVRC2012_validation_ground_truth.txt"
    (meta,) = archive.contents(f"{_DEVKIT}/meta.mat")
    truth = [number for (number,) in archive.table(listed, int)]
    (synsets,) = variables(meta, "synsets", where=f"{path}: {_DEVKIT}/meta.mat")
    fields = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    if synsets.dtype.names is None or not set(fields) <= set(synsets.dtype.names):
        raise IntegrityError("the synsets of ImageNet lack fields", where=path, expected=", ".join(fields))
    # Synsets with children are no classes of the challenge.
    with decoding("the synsets of ImageNet are malformed", where=f"{path}: {_DEVKIT}/meta.mat"):
        leaves = [tuple(synset[field] for field in fields) for synset in synsets if int(synset["num_children"]) == 0]
        by_number = {int(number): str(wnid) for number, wnid, _, _ in leaves}
    unknown = sorted(set(truth) - set(by_number))
    if unknown:
        raise IntegrityError(
            "a number of a validation image is of no class", where=f"{path}: {listed}", observed=unknown[0]
        )
    return {str(wnid): str(words) for _, wnid, words, _ in leaves}, by_number, truth


def _training(path: Path, label: Mapping[str, int], source: Mapping[str, Any]) -> Decoded:
    """Read an archive of one archive for each class, `n01440764.tar`."""
    archive = NestedArchive(path)
    return pictures(archive, DatasetIndex({name: label[name.split(".")[0]] for name in archive.names}), source)


def _joined(parts: Mapping[str, Decoded], names: list[str] | None) -> Decoded:
    """Concatenate parts, each of which becomes a group."""
    ends = np.cumsum([len(part.labels) for part in parts.values()])
    return Decoded(
        labels=np.concatenate([part.labels for part in parts.values()]),
        images=chain.from_iterable(part.images for part in parts.values()),
        names=names,
        groups={
            group: np.arange(end - len(part.labels), end, dtype=np.int64)
            for end, (group, part) in zip(ends, parts.items(), strict=True)
        },
    )


def downsampled(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return ImageNet at (3, 32, 32): role `train` as group train, role `validation` as group test.

    Each is an archive of `.npz` files with `data` (n, 3072) uint8, by plane and row, and `labels` that are the numbers
    of the devkit (ILSVRC2012_ID, role `devkit`). They become places among the sorted WordNet ids, as in `load` and
    in every head trained on ImageNet. The files are read twice, the labels first; one of them at a time is in memory.
    Raises IntegrityError as `load`.
    """
    words, by_number, _ = _devkit(files["devkit"])
    label = Classes(sorted(words), where=files["devkit"])
    place = np.full(max(by_number) + 1, -1, dtype=np.int64)
    for number, wnid in by_number.items():
        place[number] = label[wnid]
    parts = {}
    for group, role in (("train", "train"), ("test", "validation")):
        path = files[role]
        archive = FlatArchive(path)
        batches = sorted((name for name in archive.names if name.endswith(".npz")), key=lambda name: (len(name), name))
        if not batches:
            raise IntegrityError("the archive holds no arrays", where=path, expected="files that end in .npz")
        # A label takes eight bytes at most, an image 3072: what an archive of arrays declares beyond that is no data.
        most = 8 * source.get("images", 1 << 27)
        columns = [_batch(archive, name, "labels", most_bytes=most).reshape(-1) for name in batches]
        numbers = np.concatenate(columns).astype(np.int64)
        if numbers.min() < 0 or numbers.max() >= len(place) or (place[numbers] < 0).any():
            raise IntegrityError(
                "a label is no number of the devkit",
                where=path,
                expected=f"1 to {max(by_number)}",
                observed=f"{numbers.min()} to {numbers.max()}",
            )
        counts = {name: len(column) for name, column in zip(batches, columns, strict=True)}
        parts[group] = Decoded(place[numbers], _pixels(archive, counts))
    return _joined(parts, None)


def _batch(archive: FlatArchive, name: str, key: str, *, most_bytes: int) -> np.ndarray:
    (data,) = archive.contents(name)
    where = f"{archive.path}: {name}"
    with decoding("an array cannot be read", where=where):
        return from_npz(data, where=where, most_bytes=most_bytes, names=[key])[key]


def _pixels(archive: FlatArchive, counts: Mapping[str, int]) -> Iterator[np.ndarray]:
    for name, count in counts.items():
        # A variable would keep the array in memory while the next one is read.
        yield from _images(archive, name, count)


def _images(archive: FlatArchive, name: str, count: int) -> np.ndarray:
    data = _batch(archive, name, "data", most_bytes=count * _PIXELS)
    if data.dtype != np.uint8 or data.shape != (count, _PIXELS):
        raise IntegrityError(
            "the pixels have another form",
            where=f"{archive.path}: {name}",
            expected=f"uint8 ({count}, {_PIXELS})",
            observed=f"{data.dtype} {data.shape}",
        )
    return data.reshape(-1, 3, 32, 32)
