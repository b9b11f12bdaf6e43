"""Checks of ledgers against all else that is known of them: specification, data, and the checks made while attacking.

A consistent ledger may still be forged: what it says of each image is known for certain only to who runs the attack
again. So all that can be compared is, and what is missing is a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.imagefile import Split, load_split
from robustft.evaluate.ledger import Outcome, count_rows, read_checks, read_ledger
from robustft.plan.step import Step
from robustft.provenance.audit_state import AuditState
from robustft.report.sanity_checks import LIMITS, OF_THE_MODEL

ROUNDING = 1e-6
"""Of a distance in float32, relative for one above 1."""

Splits = dict[tuple[str, str, str], Split]


def check_ledgers(state: AuditState) -> None:
    """Compare each ledger that is as recorded with its specification, its data and its checks."""
    splits: Splits = {}
    for step in state.plan.of_kind("attack"):
        if step.key in state.records:
            state.guarded(check_ledger, state, step, splits, subject=step.outputs["ledger"])


def check_ledger(state: AuditState, step: Step, splits: Splits) -> None:
    """Add a finding for whatever contradicts a ledger; `splits` keeps what was read of the data."""
    path, data = step.outputs["ledger"], step.inputs["data"]
    if not state.intact([path]):
        return
    due = _images(step) * len(step.spec["attacks"])
    if (rows := count_rows(Path(path))) != due:
        text = f"it has {rows} rows, and {_images(step)} images under {len(step.spec['attacks'])} attacks are {due}"
        state.add("wrong-ledger", path, text)
        return
    split = _split(step, splits) if state.intact([data]) else None
    outcomes, checks = read_ledger(Path(path)), read_checks(Path(path))
    if list(outcomes) != (names := [attack["name"] for attack in step.spec["attacks"]]):
        state.add(
            "wrong-ledger", path, f"its attacks are {', '.join(outcomes)}, its specification's {', '.join(names)}"
        )
        return
    for attack in step.spec["attacks"]:
        outcome, made = outcomes[attack["name"]], {**checks.get("model", {}), **checks.get(attack["name"], {})}
        for text in (*_against_data(step, outcome, split), *_against_checks(step, attack, outcome, made)):
            state.add("wrong-ledger", path, f"{attack['name']}: {text}")
    if missing := _missing([attack["name"] for attack in step.spec["attacks"]], checks):
        state.add("missing-check", path, f"sanity checks that every ledger has: {', '.join(missing)}")


def _images(step: Step) -> int:
    first, last = step.spec["images"]
    return int(last - first)


def _split(step: Step, splits: Splits) -> Split:
    key = step.inputs["data"], step.spec["dataset"], step.spec["split"]
    if key not in splits:
        splits[key] = load_split(Path(key[0]), dataset=key[1], split=key[2])
    return splits[key]


def _against_data(step: Step, outcome: Outcome, split: Split | None) -> Iterator[str]:
    """Yield what contradicts the data: other images than the split's, other labels, classes that there are not."""
    if split is None:  # a finding names it already
        return
    part = slice(*step.spec["images"])
    where = f"{step.spec['dataset']}/{step.spec['split']}"
    if not np.array_equal(outcome.image, split.indices[part]):
        yield f"its images are not images {part.start} to {part.stop} of {where}"
    elif len(wrong := np.flatnonzero(outcome.label != split.labels[part])):
        image, label = outcome.image[wrong[0]], split.labels[part][wrong[0]]
        yield f"image {image} has label {outcome.label[wrong[0]]}, the data say {label} ({len(wrong)} such images)"
    if outcome.prediction.min(initial=0) < 0:
        yield f"it predicts class {outcome.prediction.min()}"


def _against_checks(step: Step, attack: dict[str, Any], outcome: Outcome, made: dict[str, float]) -> Iterator[str]:
    """Yield what contradicts the checks: distances beyond eps, or that are no numbers, which no check told of."""
    eps = 0.0 if attack["algorithm"] == "none" else float(Fraction(attack.get("threat", step.spec["threat"])["eps"]))
    unknown = int(np.isnan(outcome.distance).sum())
    if unknown and not made.get("not_a_number", 0.0):
        yield f"{unknown} distances are no numbers, and its checks say that all are"
    over = float(np.nan_to_num(outcome.distance - eps, nan=0.0).max(initial=0.0)) / max(1.0, eps)
    if over > max(made.get("over_eps", 0.0), LIMITS["over_eps"]) + ROUNDING:
        yield f"a distance is {outcome.distance.max():.6g}, beyond eps {eps:.6g}, and its checks say none is"
    if (lowest := outcome.distance.min(initial=0.0)) < 0:
        yield f"a distance is {lowest:.6g}"


def _missing(attacks: list[str], checks: dict[str, dict[str, float]]) -> list[str]:
    under_attack = [name for name in LIMITS if name not in OF_THE_MODEL]
    wanted = [("model", name) for name in OF_THE_MODEL] + [(a, name) for a in attacks for name in under_attack]
    return [f"{name} ({place})" for place, name in wanted if name not in checks.get(place, {})]
