"""Fixed splits of a data set: stratified by class, disjoint, and the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.errors import ConfigError, nearest


def split_indices(
    labels: np.ndarray, *, classes: Sequence[int], sizes: Mapping[str, int], seed: int
) -> dict[str, np.ndarray]:
    """Return disjoint index arrays, one per split, into `labels`.

    Each class is shuffled with its own counter-based stream, then the classes are dealt in turn, so every prefix of
    a split holds the classes in nearly equal parts (the first 100 test images are a fair sample of the test split).

    Args:
        labels: (N,) integer labels of the whole source.
        classes: the labels that belong to the data set.
        sizes: images per split, in order of dealing.
        seed: the split's own seed, apart from any training seed.
    """
    shuffled = []
    for label in classes:
        members = np.flatnonzero(labels == label)
        generator = np.random.Generator(np.random.Philox(key=[seed, label]))
        shuffled.append(members[generator.permutation(len(members))])
    # Position k of every class before position k+1 of any.
    depth = max(map(len, shuffled))
    dealt = np.array([members[k] for k in range(depth) for members in shuffled if k < len(members)], dtype=np.int64)
    if sum(sizes.values()) > len(dealt):
        raise ConfigError(
            "the splits need more images than the classes have",
            where="config/datasets.yaml",
            expected=f"at most {len(dealt)}",
            observed=sum(sizes.values()),
        )
    result, start = {}, 0
    for name, size in sizes.items():
        result[name] = dealt[start : start + size]
        start += size
    return result


def block_indices(block: str, *, blocks: Sequence[str], images: int, size: int) -> np.ndarray:
    """Return the positions (size,) of a named block, where a source's images are equal blocks one after another.

    A corrupted test set is laid out so: a block for each type, and in it all images of each severity in turn.
    """
    if block not in blocks:
        raise ConfigError(
            f"the source has no images of '{block}'", where="config/datasets.yaml", next_step=nearest(block, blocks)
        )
    held = images // len(blocks)
    if size != held:
        raise ConfigError(
            f"the split of '{block}' must hold the whole block",
            where="config/datasets.yaml",
            expected=held,
            observed=size,
        )
    return blocks.index(block) * held + np.arange(held, dtype=np.int64)
