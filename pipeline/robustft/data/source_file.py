"""A source decoded into its one file, by the confined process of the `data` step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded, decoded
from robustft.data.imagefile import write
from robustft.data.splits import WHERE, block_indices, class_labels, view_indices
from robustft.errors import IntegrityError
from robustft.runtime.components import locate
from robustft.runtime.context import Context, Progress

WHITE = 255
"""The largest pixel of 8 bits."""


def write_source(
    spec: dict[str, Any], inputs: Mapping[str, str], output: str, *, threads: int, log: Callable[[str], None]
) -> None:
    """Load the source, check it, fix the splits of all its data sets, and write one file in place.

    Pictures are decoded in `threads` threads, at most one for each core of this process; the file does not depend on
    it. Raises IntegrityError if the source has another number of images than its entry, and the errors of the loader.
    """
    source, datasets = spec["source"], spec["datasets"]
    content: Decoded = locate(source["loader"])(source, {role: Path(path) for role, path in inputs.items()})
    if len(content.labels) != source.get("images", len(content.labels)):
        raise IntegrityError(
            f"the source '{source['name']}' has another number of images than on record",
            where=WHERE,
            expected=source["images"],
            observed=len(content.labels),
        )
    splits = {}
    for dataset, view in datasets.items():
        parts = _parts(source, view, content)
        splits.update({f"{dataset}/{split}": indices for split, indices in parts.items()})
        sizes = ", ".join(f"{split} {len(indices)}" for split, indices in parts.items())
        log(f"{dataset}: {len(class_labels(view))} classes, {sizes}")
    about = {
        "source": source["name"],
        "source_sha256": content.sha256,
        "licence": source["licence"],
        "levels": source["levels"],
        "shape": source["shape"],
        "names": list(content.names) if content.names is not None else None,
        "datasets": {name: {"classes": class_labels(view)} for name, view in datasets.items()},
    }
    geometry = source.get("geometry", {})
    write(
        Path(output),
        images=_watched(content, source["levels"], min(threads, _cores()), log),
        labels=content.labels,
        splits=splits,
        about=about,
        # Only the shorter side is fixed and there is no crop: images have different sizes.
        ragged=isinstance(geometry.get("resize"), int) and "crop" not in geometry,
    )


def _watched(content: Decoded, levels: int, threads: int, log: Callable[[str], None]) -> Iterator[np.ndarray]:
    """Yield the images and log the progress. Raises IntegrityError for an image that is brighter than full white."""
    progress = Progress(Context({}, {}, Path(), log=log), total=len(content.labels), unit="image")
    for number, image in enumerate(decoded(content.images, threads=threads), start=1):
        progress.update(number)
        if levels < WHITE and image.max() > levels:
            raise IntegrityError(
                f"image {number} has pixels above full white, so it would not be in [0, 1]",
                where=WHERE,
                expected=f"at most the source's levels, {levels}",
                observed=int(image.max()),
                next_step="set levels to the pixel value of full white",
            )
        yield image


def _cores() -> int:
    """Return the number of cores for this process, which a cluster may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parts(source: dict[str, Any], view: dict[str, Any], content: Decoded) -> dict[str, np.ndarray]:
    """Return the positions of each split of a view: dealt from its classes, or one type's block of a corrupted set."""
    if "corruption" not in view:
        return view_indices(content.labels, view, content.groups)
    size = view["splits"]["test"]
    blocks = source["corruptions"]
    return {"test": block_indices(view["corruption"], blocks=blocks, images=len(content.labels), size=size)}
