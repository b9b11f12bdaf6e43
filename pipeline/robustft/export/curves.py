"""The curves of a training that the audit page draws."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

CURVES = ("robust_validation", "robust_test", "clean_validation", "clean_test")
"""The accuracies of a history that the page draws."""


def training_curve(history: Path) -> dict[str, Any] | None:
    """Return the accuracies at each epoch of a training that were measured; None if none was, or without the file."""
    try:
        with history.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        lines = {name: [round(float(row[name]), 4) if row[name] else None for row in rows] for name in CURVES}
        epochs = [int(row["epoch"]) for row in rows]
    except (OSError, KeyError, ValueError):  # a damaged file: the audit names it
        return None
    measured = {
        name.replace("_", " "): line for name, line in lines.items() if any(value is not None for value in line)
    }
    return {"epochs": epochs, "lines": measured} if measured and len(epochs) > 1 else None
