"""What steps leave on the disk, in bytes."""

from __future__ import annotations

from math import prod
from typing import Any

from robustft.cost.machines import UNMEASURED
from robustft.plan.step import Step

ASPECT = 4 / 3
"""The assumed ratio of the sides of pictures whose shorter side alone is resized."""

SEVERITIES = 5
"""Severities of each common corruption."""

LEDGER_BYTES, ROW_BYTES = 4_000, 12
"""Upper bounds for a ledger: a fixed part, and one for each image and attack (in the demo 3,100 and 4)."""

RECORD_BYTES = 17_000
"""The record, history and log of a step, as in the demo."""


def images(step: Step) -> int:
    """Return the number of images in the source of a `data` step; if not stated, the number that its views use."""
    source = step.spec["source"]
    if "images" in source:
        return int(source["images"])
    if "corrupted_from" in source:
        return int(source["corrupted_from"]["images"]) * len(source["corruptions"]) * SEVERITIES
    return max(sum(view["splits"].values()) for view in step.spec["datasets"].values())


def image_bytes(source: dict[str, Any]) -> float:
    """Return the bytes of one decoded image; an estimate where only the shorter side is resized."""
    geometry = source.get("geometry", {})
    side = geometry.get("resize")
    if isinstance(side, int) and "crop" not in geometry:
        return float(source["shape"][0] * side**2 * ASPECT)
    return float(prod(source["shape"]))


def left_bytes(step: Step, backbones: dict[str, Any]) -> dict[str, float]:
    """Return the bytes that a step leaves, by kind. A download without a published size counts as 0."""
    sizes: dict[str, float] = {"reports": RECORD_BYTES}
    if step.kind == "download":
        sizes["downloads"] = step.spec["file"].get("bytes", 0)
    elif step.kind == "data":
        sizes["data"] = images(step) * image_bytes(step.spec["source"])
    elif step.kind in ("train", "weights"):
        sizes["checkpoints"] = 4 * backbones[step.spec["backbone"]["name"]].get("weights", UNMEASURED["weights"])
    elif step.kind == "attack":
        first, last = step.spec["images"]
        sizes["reports"] += LEDGER_BYTES + ROW_BYTES * (last - first) * len(step.spec["attacks"])
    return sizes
