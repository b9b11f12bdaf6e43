"""Sanity checks of a measurement: what must hold for its attack to be meaningful.

Each check compares one observed number with a limit. A failed check is stored with the measurement, marked in every
table and told beside every verdict that rests on it. It does not change the number.

A share of images is no certain number, so its limit is that of an exact test: a check of something that does hold
fails with a probability of at most `ERROR`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from robustft.evaluate.ledger import Outcome
from robustft.report.statistics import binomial_limit

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
"""Largest value of each check made during the attack (see robustft/evaluate/checks.py): first those of the model."""

OF_THE_MODEL = tuple(LIMITS)[:8]
"""The checks made on the model once for each ledger; the others are made under each attack."""

ERROR = 0.01
"""Probability with which the limit of a share of images is exceeded by chance."""

SQUARE_SHARE = 0.002
"""AutoAttack's own threshold for a warning about its black-box attack, as a share of images."""

GAP_SHARE = 0.1
"""Share of images that an attack on a part of the model may leave correct although the whole model's breaks them."""


@dataclass(frozen=True)
class Expected:
    """The limits for an attack, from its `checks` in config/attacks.yaml."""

    not_weaker_than: tuple[str, ...] = ()
    """On the same images this attack leaves no more images correct than these attacks."""
    control_below: float | None = None
    """Accuracy that a plainly trained control may keep; half the accuracy of guessing, if that is larger."""
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


def _check(name: str, value: float | None, limit: float, text: str = "") -> dict[str, Any]:
    ok = value is not None and bool(value <= limit)
    entry: dict[str, Any] = {"check": name, "value": value, "limit": limit, "ok": ok}
    return {**entry, "text": text} if text else entry


def _share(name: str, count: int, images: int, allowed: int, text: str) -> dict[str, Any]:
    """Return a check of a number of images, written as shares."""
    return _check(name, count / images, allowed / images, text)


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
    checks = _made_during(judged) + _beside(attack, attacks, expected)
    if attack == "autoattack":
        checks.append(_black_box(judged.outcome))
    if control and attack in control and expected.control_below is not None:
        checks.append(_control(control[attack].outcome, expected.control_below))
    return checks


def _made_during(judged: Judged) -> list[dict[str, Any]]:
    """Return the checks that were made on the model during the attack, the worst part of the evaluation for each.

    One that was not made for some part has no value, and fails.
    """
    return [_check(name, _worst(judged, name), limit) for name, limit in LIMITS.items()]


def _worst(judged: Judged, name: str) -> float | None:
    """Return the largest value of a check over the parts; each has two mappings, of the model and of the attack."""
    values = [checks[name] for checks in judged.checks if name in checks]
    return max(values) if values and len(values) >= len(judged.checks) // 2 else None


def _beside(attack: str, attacks: dict[str, Judged], expected: Expected) -> list[dict[str, Any]]:
    """Compare an attack with others on the images that both attack; there is no check without such images."""
    checks = []
    for weaker in expected.not_weaker_than:
        only_ours, only_theirs, shared = _kept(attack, weaker, attacks)
        if shared:
            # Last iterates vary a little: an attack as strong breaks either image of a pair that differs.
            allowed = binomial_limit(only_ours + only_theirs, 1 / 2, ERROR)
            text = f"share of images that {attack} leaves correct and {weaker} breaks"
            checks.append(_share(f"not_weaker_than_{weaker}", only_ours, shared, allowed, text))
    if expected.gap_to is not None:
        only_ours, _, shared = _kept(attack, expected.gap_to, attacks)
        if shared:
            allowed = binomial_limit(shared, GAP_SHARE, ERROR)
            text = f"share of images that it leaves correct and {expected.gap_to}, which sees the whole model, breaks"
            checks.append(_share("overstates_robustness", only_ours, shared, allowed, text))
    return checks


def _kept(attack: str, other: str, attacks: dict[str, Judged]) -> tuple[int, int, int]:
    """Return of the images that both attack: those only `attack` leaves correct, those only `other` does, and all."""
    if other not in attacks:
        return 0, 0, 0
    first, second = attacks[attack].outcome, attacks[other].outcome
    _, ours, theirs = np.intersect1d(first.image, second.image, return_indices=True)
    left, right = first.correct[ours], second.correct[theirs]
    return int(np.sum(left & ~right)), int(np.sum(right & ~left)), len(ours)


def _black_box(outcome: Outcome) -> dict[str, Any]:
    by_square, images = int(np.sum(outcome.broken_by == "square")), len(outcome.image)
    allowed = binomial_limit(images, SQUARE_SHARE, ERROR)
    return _share(
        "black_box_not_stronger", by_square, images, allowed, "share of images that only the black-box attack broke"
    )


def _control(outcome: Outcome, below: float) -> dict[str, Any]:
    # With few classes a random guess is often correct, so no limit lies below half the accuracy of guessing.
    share, images = max(below, 1 / len(np.unique(outcome.label)) / 2), len(outcome.image)
    allowed = binomial_limit(images, share, ERROR)
    return _share(
        "control_falls", int(outcome.correct.sum()), images, allowed, "accuracy that the undefended control keeps"
    )
