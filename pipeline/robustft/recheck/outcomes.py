"""Comparing a ledger with its re-run: a forged outcome is told from an honest rounding difference.

On the same kind of machine (processor, device, threads, torch, source files) everything that an accuracy is counted
from has to be equal: images, labels, predictions, the checks of the model. On another kind, images and labels have to
be equal, and an outcome may flip where an image lies at the boundary of its class, since floating-point sums are
rounded otherwise. Ledgers hold no margins, so the rule is about the number of flips: if an honest outcome flips with a
probability of at most `FLIP_SHARE`, the number among n images exceeds `limit` with a probability of at most
`FALSE_ALARM`, divided among all the attacks that are compared (Bonferroni). More flips are called a difference. Floats
are compared loosely there, and never decide about an outcome.

What the rule cannot see: on another kind of machine, up to `limit` forged outcomes of an attack pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robustft.errors import RobustftError
from robustft.evaluate.ledger import Outcome, read_checks, read_ledger
from robustft.report.statistics import binomial_limit

FLIP_SHARE = 1 / 1000
"""The largest share of outcomes that rounding flips on another kind of machine. docs/trust.md has what was observed."""

FALSE_ALARM = 1e-3
"""The probability that a recheck of honest ledgers on another kind of machine names a difference."""

CHECK_TOLERANCE = {"zero_gradients": 1 / 32, "eps0_changes": 2.0, "rescored_differently": 2.0}
"""How far a check may differ on another kind of machine, where it counts images; else `SMALL`."""

SMALL = 1e-3
NAMED = 5
"""Differing images that are named."""

IDENTICAL, EQUAL, ROUNDING, DIFFERS = "identical", "equal outcomes", "rounding", "differs"


@dataclass
class Comparison:
    """A recorded file and its re-run."""

    status: str = IDENTICAL
    outcomes: int = 0
    """Outcomes of attacks on images that were compared."""
    flipped: int = 0
    differences: list[str] = field(default_factory=list)
    """What differs, by attack and image."""

    @property
    def agrees(self) -> bool:
        """Whether the re-run supports what was recorded."""
        return self.status != DIFFERS

    def differs(self, text: str) -> None:
        """Note a difference that rounding does not explain."""
        self.status = DIFFERS
        self.differences.append(text)


def limit(images: int, groups: int) -> int:
    """Return the number of flips among some images that rounding exceeds too seldom, for one of `groups` attacks."""
    return binomial_limit(images, FLIP_SHARE, FALSE_ALARM / groups)


def compare_ledgers(recorded: Path, again: Path, *, same_kind: bool, groups: int) -> Comparison:
    """Compare a recorded ledger with its re-run, outcome by outcome; `groups` attacks are compared in all."""
    found = Comparison()
    ours = read_ledger(again)
    found.outcomes = sum(len(outcome.image) for outcome in ours.values())
    try:
        theirs, checks = read_ledger(recorded), read_checks(recorded)
    except RobustftError as error:
        found.differs(" ".join(str(error).split()))
        return found
    if recorded.read_bytes() == again.read_bytes():
        return found
    found.status = EQUAL
    if list(theirs) != list(ours):
        found.differs(f"recorded attacks {', '.join(theirs)}; run again {', '.join(ours)}")
        return found
    for attack, outcome in ours.items():
        _compare_outcomes(found, theirs[attack], outcome, same_kind=same_kind, groups=groups)
    _compare_checks(found, checks, read_checks(again), same_kind=same_kind)
    return found


def _compare_outcomes(found: Comparison, theirs: Outcome, ours: Outcome, *, same_kind: bool, groups: int) -> None:
    for what, a, b in (("images", theirs.image, ours.image), ("labels", theirs.label, ours.label)):
        if not np.array_equal(a, b):
            found.differs(f"{ours.attack}: the {what} are not those of the data, {_where(a, b, ours.image)}")
            return
    flips = theirs.correct != ours.correct
    found.flipped += int(flips.sum())
    changed = theirs.prediction != ours.prediction if same_kind else flips
    if not changed.any():
        return
    allowed = 0 if same_kind else limit(len(changed), groups)
    if changed.sum() > allowed:
        found.differs(
            f"{ours.attack}: {int(changed.sum())} of {len(changed)} outcomes differ, {allowed} may"
            f" ({100 * theirs.correct.mean():.1f} % correct as recorded, {100 * ours.correct.mean():.1f} % run again):"
            f" {_named(theirs, ours, changed)}"
        )
    elif found.status == EQUAL:
        found.status = ROUNDING


def _named(theirs: Outcome, ours: Outcome, changed: np.ndarray) -> str:
    texts = [
        f"image {ours.image[place]} of class {ours.label[place]}: recorded {theirs.prediction[place]},"
        f" run again {ours.prediction[place]}"
        for place in np.flatnonzero(changed)[:NAMED]
    ]
    rest = int(changed.sum()) - len(texts)
    return "; ".join(texts) + (f"; and {rest} more" if rest else "")


def _where(a: np.ndarray, b: np.ndarray, images: np.ndarray) -> str:
    if len(a) != len(b):
        return f"{len(a)} recorded, {len(b)} run again"
    place = int(np.flatnonzero(a != b)[0])
    return f"first at image {images[place]}: recorded {a[place]}, run again {b[place]}"


def _compare_checks(found: Comparison, theirs: Mapping[str, Any], ours: Mapping[str, Any], *, same_kind: bool) -> None:
    """Compare the checks of the model: names exactly, values as rounding allows."""
    for part, checks in ours.items():
        recorded = theirs.get(part)
        if not isinstance(recorded, Mapping) or set(recorded) != set(checks):
            found.differs(f"checks of {part}: recorded {_names(recorded)}, run again {_names(checks)}")
            continue
        for name, value in checks.items():
            allowed = SMALL if same_kind else CHECK_TOLERANCE.get(name, SMALL)
            if not isinstance(recorded[name], int | float) or not abs(recorded[name] - value) <= allowed:
                found.differs(f"check {name} of {part}: recorded {recorded[name]!r}, run again {value!r}")


def _names(checks: Any) -> str:
    return ", ".join(sorted(checks)) if isinstance(checks, Mapping) and checks else "none"
