"""Metrics of training, from its history: tables and claims may have them besides accuracies."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

History = list[dict[str, str]]
"""The lines of a history file."""


def read_history(path: Path) -> History:
    """Return the lines of a history file, one for each epoch."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def kept_validation(history: History, selection: str) -> float | None:
    """Return the robust validation accuracy of the model that a training keeps; None without validation images.

    `selection` is the recipe's: the best epoch on validation images, or the last one.
    """
    shares = [float(row["robust_validation"]) for row in history if row.get("robust_validation")]
    if not shares:
        return None
    return max(shares) if selection == "best_validation" else shares[-1]


class TrainingMetric(NamedTuple):
    """A metric of training: its title in tables, and the unit of its values in numbers.json."""

    title: str
    unit: str
    noun: str
    """What is counted, in the words of verdicts and margins."""
    exact: bool
    """Whether the value follows from the method alone: it has no seeds, and two values are equal or are not."""


TRAINING_METRICS = {
    "epochs_to_best": TrainingMetric("Epochs to best", "epochs", "epochs", exact=False),
    "trained_parameters": TrainingMetric("Trained parameters", "count", "parameters", exact=True),
}
