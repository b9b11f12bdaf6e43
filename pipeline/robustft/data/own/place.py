"""Images from a place on the disk, and their deterministic, stratified splits."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from robustft.data.own.arrays import read_npz
from robustft.data.own.collection import Collection
from robustft.data.own.folder import read_folder
from robustft.errors import ConfigError, RobustftError


def read_place(place: str | Path, *, hashed: bool = True) -> Collection:
    """Return the images of a folder of class folders (`read_folder`) or of an .npz file (`read_npz`).

    Pictures are decoded when they are asked for. `hashed`: false leaves the hashes of `files` empty.

    Raises RobustftError if there is no such place or fewer than two classes, and the errors of both readers.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        collection = read_folder(path, hashed=hashed)
    elif path.suffix == ".npz" and path.is_file():
        collection = read_npz(path, hashed=hashed)
    else:
        raise RobustftError(
            "these are no images that can be read" if path.exists() else "there are no such images",
            where=place,
            expected="a folder with a folder for each class, or an .npz of images and labels",
            next_step="check the path",
        )
    if collection.count < 2:
        raise RobustftError(
            "a classifier needs images of at least two classes",
            where=place,
            observed=", ".join(collection.classes or ["label 0 alone"]),
            next_step="give the folder that holds a folder for each class",
        )
    return collection


def stratified_order(labels: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return an order of all positions (N,) in which every prefix holds the classes in their proportions.

    Each class is shuffled with a stream of its own, so one more class moves no image of another. Image k of a class of
    n comes at (k + 1/2) / n.
    """
    places = np.empty(len(labels), dtype=np.float64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        draws = np.random.Generator(np.random.Philox(key=[seed, int(label)]))
        places[members[draws.permutation(len(members))]] = (np.arange(len(members)) + 0.5) / len(members)
    order: np.ndarray = np.lexsort((labels, places))
    return order


def stratified_splits(
    labels: np.ndarray, shares: Mapping[str, float | Fraction], *, seed: int = 0, rest: str = "train"
) -> dict[str, np.ndarray]:
    """Return the positions of each split: of every class each split has its share, up to one image.

    Args:
        labels: (N,) int64.
        shares: of each split, such as {"validation": 0.2, "test": 0.3}; what is left is the split `rest`.
        seed: of the shuffle.
        rest: the name of the split of all other images.

    Each split is in an order whose every prefix holds the classes in their proportions. Raises ConfigError if the
    shares are not between 0 and 1 or sum to more, or a class is too small for a split.
    """
    exact = {name: Fraction(str(share)) for name, share in shares.items()}
    left = 1 - sum(exact.values(), Fraction(0))
    if left < 0 or any(share <= 0 for share in exact.values()) or rest in exact:
        raise ConfigError(
            "the shares of the splits do not fit",
            expected=f"each above 0, together at most 1; what is left is '{rest}'",
            observed=", ".join(f"{name} {float(share):g}" for name, share in exact.items()),
        )
    if left:
        exact[rest] = left
    order = stratified_order(labels, seed=seed)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in exact}
    for label in np.unique(labels):
        members = order[labels[order] == label]
        start, total = 0, Fraction(0)
        for name, share in exact.items():
            total += share
            end = round(total * len(members))
            if end == start:
                raise ConfigError(
                    f"the class {label} has no image for the split '{name}'",
                    expected=f"at least {int(1 / share) + 1} images",
                    observed=len(members),
                    next_step="add images, or give the split a larger share",
                )
            parts[name].append(members[start:end])
            start = end
    rank = np.argsort(order)
    return {name: (both := np.concatenate(members))[np.argsort(rank[both])] for name, members in parts.items()}
