"""What tables and claims can be about besides accuracies: what the histories of a training tell of it."""

from __future__ import annotations

from typing import NamedTuple


class TrainingMetric(NamedTuple):
    """Its title in tables, and the unit of its values in numbers.json."""

    title: str
    unit: str


TRAINING_METRICS = {
    "epochs_to_best": TrainingMetric("Epochs to best", "epochs"),
    "trained_parameters": TrainingMetric("Trained parameters", "count"),
}
