"""Comparing a training with its re-run: by the checkpoint's bytes, else by the accuracy under the same attacks.

On another kind of machine, rounding grows over thousands of steps into another model, as another seed would. So both
models are judged by their accuracies p under each attack of the run, on the same n images. They may differ by

    sqrt((t * sd * sqrt(2))^2 + z^2 * 2 p (1 - p) / n)

sd is the recorded spread over the m seeds of the cell, t Student's quantile with m - 1 degrees of freedom and z the
normal one. An honest training exceeds it with a probability of about `FALSE_ALARM`, divided among all the attacks that
are compared. Of a cell with one seed, the spread is not known, so nothing is said.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from robustft.evaluate.ledger import read_ledger
from robustft.recheck.outcomes import FALSE_ALARM, Comparison
from robustft.report.intervals import Estimate, Seeds
from robustft.report.numbers import CELL
from robustft.report.statistics import sample_sd

WITHIN, UNJUDGED = "within the interval", "not judged"


def spreads(numbers: dict[str, Any], ledger: str) -> dict[str, tuple[float, int]]:
    """Return, for each attack in a ledger, the recorded sample standard deviation over seeds, and their number."""
    cells: dict[tuple[Any, ...], list[float]] = {}
    mine: dict[str, tuple[Any, ...]] = {}
    for one in numbers["measurements"]:
        key = tuple(one[part] for part in CELL)
        cells.setdefault(key, []).append(one["accuracy"])
        if any(part["step"] == ledger for part in one["ledgers"]):
            mine[one["attack"]] = key
    return {attack: (sample_sd(cells[key]) or 0.0, len(cells[key])) for attack, key in mine.items()}


def allowed(share: float, images: int, *, sd: float, seeds: int, groups: int) -> float:
    """Return by how much an accuracy may differ from the recorded one, in shares; see this module's formula."""
    noise = math.sqrt(2 * share * (1 - share) / images)
    return Estimate(0.0, Seeds(sd * math.sqrt(2), seeds - 1), images=noise).half_width(FALSE_ALARM / groups)


def compare_accuracies(recorded: Path, again: Path, spread: dict[str, tuple[float, int]], *, groups: int) -> Comparison:
    """Compare the ledgers of the recorded and of the new checkpoint by their accuracies."""
    found, theirs = Comparison(status=WITHIN), read_ledger(recorded)
    for attack, outcome in read_ledger(again).items():
        sd, seeds = spread.get(attack, (0.0, 0))
        if attack not in theirs or seeds < 2:
            found.status = found.status if not found.agrees else UNJUDGED
            continue
        a, b = float(theirs[attack].correct.mean()), float(outcome.correct.mean())
        may = allowed(a, len(outcome.image), sd=sd, seeds=seeds, groups=groups)
        found.outcomes += len(outcome.image)
        if abs(a - b) > may:
            points = f"{100 * abs(a - b):.1f} points differ, {100 * may:.1f} may"
            found.differs(f"{attack}: {100 * a:.1f} % recorded, {100 * b:.1f} % trained again; {points}")
    return found
