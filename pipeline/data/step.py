"""The `data` step: decode a source into its one file."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from pipeline.context import Context
from pipeline.data.imagefile import save
from pipeline.data.splits import block_indices, split_indices


def decode(spec: dict[str, Any], context: Context) -> None:
    """Load the source, check it, fix the splits of all its data sets, write one file."""
    source, datasets = spec["source"], spec["datasets"]
    module, name = source["loader"].split(":")
    clean = [context.inputs["clean"]] if "corrupted_from" in source else []
    images, labels, sha256 = getattr(importlib.import_module(module), name)(source, *clean)
    splits = {}
    for dataset, view in datasets.items():
        parts = _parts(source, view, labels)
        splits.update({f"{dataset}/{split}": indices for split, indices in parts.items()})
        sizes = ", ".join(f"{split} {len(indices)}" for split, indices in parts.items())
        context.say(f"{dataset}: classes {view['classes']}, {sizes}")
    about = {
        "source": source["name"],
        "source_sha256": sha256,
        "licence": source["licence"],
        "levels": source["levels"],
        "datasets": {name: {"classes": view["classes"]} for name, view in datasets.items()},
    }
    save(context.outputs["data"], images=images, labels=labels, splits=splits, about=about)


def _parts(source: dict[str, Any], view: dict[str, Any], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return the positions of each split of a view: dealt from its classes, or one type's block of a corrupted set."""
    if "corruption" not in view:
        return split_indices(labels, classes=view["classes"], sizes=view["splits"], seed=view["split_seed"])
    size = view["splits"]["test"]
    return {"test": block_indices(view["corruption"], blocks=source["corruptions"], images=len(labels), size=size)}
