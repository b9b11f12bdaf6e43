"""What steps leave on the disk, in bytes."""

from __future__ import annotations

from math import prod
from typing import Any

from robustft.plan.step import Step

ASPECT = 4 / 3
"""Of pictures stored with their longer side as it comes; a guess."""

SEVERITIES = 5
"""Of each common corruption."""

LEDGER_BYTES, ROW_BYTES = 4_000, 12
"""Of a ledger: its fixed part, and at most so much for each image and attack (the demo's: 3,100 and 4)."""

RECORD_BYTES = 17_000
"""A step's record, history and log, by the demo's."""


def images(step: Step) -> int:
    """Return how many images the source of a `data` step has: as stated, else as its views use them."""
    source = step.spec["source"]
    if "images" in source:
        return int(source["images"])
    if "corrupted_from" in source:
        return int(source["corrupted_from"]["images"]) * len(source["corruptions"]) * SEVERITIES
    return max(sum(view["splits"].values()) for view in step.spec["datasets"].values())


def image_bytes(source: dict[str, Any]) -> float:
    """Return the bytes of one decoded image; of pictures that keep their longer side an estimate."""
    geometry = source.get("geometry", {})
    side = geometry.get("resize")
    if isinstance(side, int) and "crop" not in geometry:
        return float(source["shape"][0] * side**2 * ASPECT)
    return float(prod(source["shape"]))


def left_bytes(step: Step, backbones: dict[str, Any]) -> dict[str, float]:
    """Return the bytes that a step leaves: of downloads (if their size is published), data, checkpoints, reports."""
    found: dict[str, float] = {"reports": RECORD_BYTES}
    if step.kind == "download":
        found["downloads"] = step.spec["file"].get("bytes", 0)
    elif step.kind == "data":
        found["data"] = images(step) * image_bytes(step.spec["source"])
    elif step.kind in ("train", "weights"):
        found["checkpoints"] = 4 * backbones[step.spec["backbone"]["name"]]["weights"]
    elif step.kind == "attack":
        first, last = step.spec["images"]
        found["reports"] += LEDGER_BYTES + ROW_BYTES * (last - first) * len(step.spec["attacks"])
    return found
