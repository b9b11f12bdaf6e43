"""A user's own folder of pictures, with splits that are dealt class by class. The planner asks it for `facts`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded
from robustft.data.formats.dataset_index import wording
from robustft.data.own.collection import Collection
from robustft.data.own.folder import read_folder
from robustft.errors import ConfigError, IntegrityError


def stamp(folder: Path) -> str:
    """Return a hash of the names, sizes and times of a folder's pictures: while it is the same, so are its facts."""
    lines = []
    for name in read_folder(folder, hashed=False).files:
        status = (folder / name).stat()
        lines.append(f"{name}\t{status.st_size}\t{status.st_mtime_ns}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def facts(folder: Path) -> dict[str, Any]:
    """Return what a plan needs of a folder.

    `sha256` is one over all pictures, `size` that of the first one, and `counts` has the pictures of each class in each
    of the folder's own splits ("" if it has none).
    """
    pictures = read_folder(folder)
    return {
        "sha256": _digest(pictures),
        "size": list(pictures.size_of(0)),
        "counts": {
            split: dict(zip(pictures.classes or (), map(len, members), strict=True))
            for split, members in _members(pictures).items()
        },
    }


def sizes(counts: Mapping[str, Mapping[str, int]], shares: Mapping[str, float]) -> dict[str, int]:
    """Return the number of images of each split. Raises ConfigError for a class with too few pictures."""
    total = {"train": 0, "validation": 0, "test": 0}
    for split, of_class in counts.items():
        for name, count in of_class.items():
            for part, size in _dealt(split, name, count, shares, own=counts).items():
                total[part] += size
    return total


def load(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the pictures of the folder `source["folder"]`; labels are places among the sorted names of its classes.

    `parameters` are the `splits` {validation, test: share of each class} and their `seed`; a split that the folder has
    itself is taken as it is. Of each class the pictures are shuffled by a stream of its own and dealt, so every split
    has the classes in the folder's own proportions. Raises IntegrityError if the pictures are not those that were
    planned with.
    """
    pictures = read_folder(Path(source["folder"]))
    if (observed := _digest(pictures)) != source["sha256"]:
        raise IntegrityError(
            f"the pictures of '{source['name']}' have changed since this run was planned",
            where=pictures.place,
            expected=source["sha256"],
            observed=observed,
            next_step="start the run again: it plans with the pictures that are there",
        )
    side, shape = source["parameters"].get("side"), tuple(source["shape"])
    return Decoded(
        labels=pictures.labels,
        images=[partial(_picture, pictures, name, place, side, shape) for place, name in enumerate(pictures.files)],
        names=[wording(name) for name in pictures.classes or ()],
        groups=_deal(pictures, source["parameters"]["splits"], seed=source["parameters"]["seed"]),
        sha256=observed,
    )


def _digest(pictures: Collection) -> str:
    return hashlib.sha256("".join(f"{one}  {name}\n" for name, one in pictures.files.items()).encode()).hexdigest()


def _members(pictures: Collection) -> dict[str, list[np.ndarray]]:
    """Return the positions of each class in each of the folder's own splits."""
    groups = pictures.groups or {"": np.arange(len(pictures.labels))}
    labels = range(pictures.count)
    return {split: [among[pictures.labels[among] == label] for label in labels] for split, among in groups.items()}


def _dealt(split: str, name: str, count: int, shares: Mapping[str, float], *, own: Mapping[str, Any]) -> dict[str, int]:
    """Return how many of a class's pictures of one of the folder's own splits go to each split.

    Shares are rounded, and at least one picture; what is left trains. Raises ConfigError if nothing would be left.
    """
    if split in ("validation", "test"):
        return {split: count}
    parts = {part: max(1, round(share * count)) for part, share in shares.items() if part not in own}
    if (train := count - sum(parts.values())) < 1:
        raise ConfigError(
            f"the class '{name}' has too few pictures for its splits",
            expected=f"{len(parts) + 1} at least, for train, {' and '.join(parts)}",
            observed=count,
        )
    return {"train": train, **parts}


def _deal(pictures: Collection, shares: Mapping[str, float], *, seed: int) -> dict[str, np.ndarray]:
    groups: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    members, names = _members(pictures), pictures.classes or ()
    for split, classes in members.items():
        for label, (name, among) in enumerate(zip(names, classes, strict=True)):
            order = among[np.random.Generator(np.random.Philox(key=[seed, label])).permutation(len(among))]
            place = 0
            for part, size in _dealt(split, name, len(among), shares, own=members).items():
                groups[part].append(order[place : place + size])
                place += size
    return {part: np.sort(np.concatenate(parts)) for part, parts in groups.items()}


def _picture(pictures: Collection, name: str, position: int, side: int | None, shape: Sequence[int]) -> np.ndarray:
    picture = pictures.read(position, side=side)
    if picture.shape != shape:
        raise IntegrityError(
            "a picture has another size than the first one",
            where=name,
            expected=f"{shape[1]} x {shape[2]} pixels",
            observed=f"{picture.shape[1]} x {picture.shape[2]}",
            next_step="give the data set a `size`, to which all pictures are resized and cropped",
        )
    return picture
