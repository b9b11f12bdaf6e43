"""The cells of numbers.json that a table or figure shows: of one evaluation, and so of one split, for each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Entry = dict[str, Any]
"""A cell or a measurement."""


def across_datasets(display: Mapping[str, Any]) -> bool:
    """Tell whether a table or figure is of the data sets that evaluations list, not of those trained on."""
    return display.get("across") == "datasets"


def cells_of(
    display: Mapping[str, Any], shown: Mapping[str, Mapping[str, Any]], entries: Sequence[Entry], metric: str
) -> list[Entry]:
    """Return the cells, or the measurements, of a table's or figure's experiment under one metric.

    Args:
        display: the entry of the table or figure, with `experiment`, and `across` for data sets of evaluations.
        shown: the evaluation and split that it shows for each attack (plan/shown.py).
        entries: `cells` or `measurements` of numbers.json.
        metric: an attack, or a metric of training, which has no evaluation.
    """
    one = shown.get(metric)
    key = {"experiment": display["experiment"], "attack": metric}
    key["transfer_eval"] = across_datasets(display) and one is not None
    key |= {part: one[part] if one else None for part in ("evaluation", "split")}
    return [entry for entry in entries if key.items() <= entry.items()]
