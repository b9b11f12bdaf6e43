"""Fixed splits of a data set: stratified by class, disjoint, and the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robustft.errors import ConfigError, lookup, nearest

WHERE = "config/datasets.yaml"


def class_labels(view: Mapping[str, Any]) -> list[int]:
    """Return the labels of a data set's classes: `classes` is their list, or their number, counted from 0."""
    classes: list[int] | int = view["classes"]
    return list(range(classes)) if isinstance(classes, int) else classes


def view_indices(
    labels: np.ndarray, view: Mapping[str, Any], groups: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the positions of each split of a data set.

    A split is dealt from the source's group that the view names for it, else from the whole source. Splits of one group
    share no image.

    Args:
        labels: (N,) integer labels of the whole source.
        view: the data set's entry in config/datasets.yaml: {splits, classes, groups, split_seed, subset}.
        groups: positions of the source's groups, (n,) each.

    Raises:
        ConfigError: a group is unknown, has too few images, or images are left over although the view is no `subset`.
    """
    sizes: dict[str, dict[str, int]] = {}
    for split, size in view["splits"].items():
        sizes.setdefault(view.get("groups", {}).get(split, ""), {})[split] = size
    positions: dict[str, np.ndarray] = {}
    for group, parts in sizes.items():
        among = lookup(groups, group, kind="group of the source", where=WHERE) if group else None
        classes = class_labels(view)
        if among is not None and not view.get("subset", False):
            available = int(np.isin(labels[among], classes).sum())
            if sum(parts.values()) != available:
                raise ConfigError(
                    f"the splits {', '.join(parts)} do not use up the group '{group}'",
                    where=WHERE,
                    expected=f"{available} images",
                    observed=sum(parts.values()),
                    next_step="correct the sizes; if a part is meant, set `subset: true`",
                )
        positions |= split_indices(labels, classes=classes, sizes=parts, seed=view.get("split_seed", 0), among=among)
    return {split: positions[split] for split in view["splits"]}


def split_indices(
    labels: np.ndarray,
    *,
    classes: Sequence[int],
    sizes: Mapping[str, int],
    seed: int,
    among: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return disjoint index arrays, one per split, into `labels`.

    Each class is shuffled with its own counter-based stream, then the classes are dealt in turn, so every prefix of
    a split holds the classes in nearly equal parts (the first 100 test images are a fair sample of the test split).

    Args:
        labels: (N,) integer labels of the whole source.
        classes: the labels of the data set.
        sizes: images of each split, in order of dealing.
        seed: the split's own seed; training seeds do not change splits.
        among: (n,) positions to deal from; None for all.

    Raises:
        ConfigError: the splits need more images than there are.
    """
    allowed = np.ones(len(labels), dtype=bool)
    if among is not None:
        allowed[:] = False
        allowed[among] = True
    shuffled = []
    for label in classes:
        members = np.flatnonzero((labels == label) & allowed)
        generator = np.random.Generator(np.random.Philox(key=[seed, label]))
        shuffled.append(members[generator.permutation(len(members))])
    # Position k of every class before position k+1 of any.
    depth = max(map(len, shuffled))
    dealt = np.array([members[k] for k in range(depth) for members in shuffled if k < len(members)], dtype=np.int64)
    if sum(sizes.values()) > len(dealt):
        raise ConfigError(
            "the splits need more images than the classes have",
            where=WHERE,
            expected=f"at most {len(dealt)}",
            observed=sum(sizes.values()),
        )
    result, start = {}, 0
    for name, size in sizes.items():
        result[name] = dealt[start : start + size]
        start += size
    return result


def block_indices(block: str, *, blocks: Sequence[str], images: int, size: int) -> np.ndarray:
    """Return the positions (size,) of a named block of a source whose images are equal blocks one after another.

    A corrupted test set has a block for each type, and in it all images of each severity in turn. Raises ConfigError
    for an unknown block or another size than the block's.
    """
    if block not in blocks:
        raise ConfigError(f"the source has no images of '{block}'", where=WHERE, next_step=nearest(block, blocks))
    block_size = images // len(blocks)
    if size != block_size:
        raise ConfigError(
            f"the split of '{block}' must hold the whole block",
            where=WHERE,
            expected=block_size,
            observed=size,
        )
    return blocks.index(block) * block_size + np.arange(block_size, dtype=np.int64)
