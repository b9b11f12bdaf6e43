"""Metrics of training, from its history: tables and claims may have them besides accuracies."""

from __future__ import annotations

from typing import NamedTuple


class TrainingMetric(NamedTuple):
    """The title of a metric in tables, and the unit of its values in numbers.json."""

    title: str
    unit: str


TRAINING_METRICS = {
    "epochs_to_best": TrainingMetric("Epochs to best", "epochs"),
    "trained_parameters": TrainingMetric("Trained parameters", "count"),
}
