"""Sanity checks of a measurement: what must hold for its attack to be meaningful.

Each check compares one observed number with a limit. A failed check is stored with the measurement and marked in every
table. It does not change the number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robustft.evaluate.ledger import Outcome

LIMITS = {
    "modules_in_training_mode": 0.0,
    "logits_not_finite": 0.0,
    "pixels_outside": 0.0,
    "repeat_difference": 0.0,
    "batch_difference": 1e-4,
    "zero_gradients": 0.05,
    "eps0_changes": 0.0,
    "probabilities": 0.0,
    "over_eps": 1e-6,
    "adversarial_pixels_outside": 0.0,
    "not_a_number": 0.0,
    "rescored_differently": 0.0,
}
"""Largest value of each check made during the attack (see robustft/evaluate/checks.py)."""

SLACK = 0.01
"""Share of images (at least one image) by which a stronger attack may be weaker: last iterates vary a little."""

SQUARE_SHARE = 0.002
"""AutoAttack's own threshold for a warning about its black-box attack: a share of images (at least one image)."""

GAP_LIMIT = 0.1
"""Largest accuracy that an attack on a part of the model may leave beyond the attack on the whole model."""


@dataclass(frozen=True)
class Expected:
    """The limits for an attack, from its `checks` in config/attacks.yaml."""

    not_weaker_than: tuple[str, ...] = ()
    """On the same images this attack leaves no more images correct than these attacks."""
    control_below: float | None = None
    """Largest accuracy of a plainly trained control; half the accuracy of guessing, if that is larger."""
    gap_to: str | None = None
    """For an attack that sees a part of the model only: the attack on the whole model."""

    @classmethod
    def of(cls, checks: dict[str, Any] | None) -> Expected:
        """Read an entry of the configuration."""
        checks = checks or {}
        below, weaker = checks.get("control_below"), tuple(checks.get("not_weaker_than", ()))
        return cls(weaker, below, checks.get("gap_to"))


@dataclass(frozen=True)
class Judged:
    """One attack's outcome on one run, the checks stored in its ledgers, and the ledgers' step names."""

    outcome: Outcome
    checks: list[dict[str, float]]
    sources: list[str]


def _check(name: str, value: float, limit: float, text: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"check": name, "value": value, "limit": limit, "ok": bool(value <= limit)}
    return {**entry, "text": text} if text else entry


def _excess(stronger: Outcome, weaker: Outcome) -> tuple[float, float]:
    """Return the share of common images that the stronger attack leaves correct in excess, and the allowed slack."""
    _, ours, theirs = np.intersect1d(stronger.image, weaker.image, return_indices=True)
    if not len(ours):
        return 0.0, SLACK
    surplus = int(stronger.correct[ours].sum()) - int(weaker.correct[theirs].sum())
    return max(0, surplus) / len(ours), max(SLACK, 1 / len(ours))


def judge(
    attack: str, attacks: dict[str, Judged], control: dict[str, Judged] | None, expected: Expected
) -> list[dict[str, Any]]:
    """Return every check of one measurement: {check, value, limit, ok}, and a text where the name is not enough.

    Args:
        attack: the measurement's attack.
        attacks: all attacks on the same run.
        control: all attacks on the experiment's undefended control, if it has one.
        expected: what must hold for this attack.
    """
    judged = attacks[attack]
    values: dict[str, float] = {}
    for checks in judged.checks:
        for name, value in checks.items():
            values[name] = max(values.get(name, 0.0), value)
    result = [_check(name, values[name], limit) for name, limit in LIMITS.items() if name in values]
    for weaker in expected.not_weaker_than:
        if weaker in attacks:
            excess, slack = _excess(judged.outcome, attacks[weaker].outcome)
            text = f"share of images that {attack} leaves correct beyond {weaker}"
            result.append(_check(f"not_weaker_than_{weaker}", excess, slack, text))
    if expected.gap_to in attacks:
        excess, _ = _excess(judged.outcome, attacks[expected.gap_to].outcome)
        text = f"share of images that it leaves correct beyond {expected.gap_to}, which sees the whole model"
        result.append(_check("overstates_robustness", excess, GAP_LIMIT, text))
    if attack == "autoattack":
        by_square = int(np.sum(judged.outcome.broken_by == "square"))
        images = len(judged.outcome.image)
        limit = max(SQUARE_SHARE, 1 / images)
        text = "share of images that only the black-box attack broke"
        result.append(_check("black_box_not_stronger", by_square / images, limit, text))
    if control and attack in control and expected.control_below is not None:
        accuracy = float(control[attack].outcome.correct.mean())
        text = "accuracy that the undefended control keeps"
        # With few classes a random guess is often correct, so no limit lies below half the accuracy of guessing.
        guessing = 1 / len(np.unique(control[attack].outcome.label))
        result.append(_check("control_falls", accuracy, max(expected.control_below, guessing / 2), text))
    return result
