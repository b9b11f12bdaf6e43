"""What a recheck showed, in sentences: for the command itself, `explain`, cards and the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

NOUNS = {"ledgers": "ledger", "trainings": "training"}
DIFFERS = "differs"


def mismatches(predicate: Mapping[str, Any]) -> list[str]:
    """Return the steps that a recheck found to differ, by key."""
    parts = ("sources", *NOUNS)
    return [str(one["step"]) for part in parts for one in predicate[part]["checked"] if one["status"] == DIFFERS]


def in_short(predicate: Mapping[str, Any]) -> str:
    """Return one line: how much was run again, and how it came out.

    Raises KeyError, TypeError or ValueError for a predicate of another shape.
    """
    counted = []
    for part, noun in NOUNS.items():
        about = predicate[part]
        drawn, population = (
            sum(int(about[name][key]) for name in ("claimed", "others")) for key in ("drawn", "population")
        )
        if drawn:
            counted.append(f"{drawn} of {population} {noun}s")
    false = len(mismatches(predicate))
    outcome = f"{false} {'differs' if false == 1 else 'differ'}" if false else "all agree"
    return f"{' and '.join(counted) or 'nothing'}, drawn by the seed {str(predicate['seed'])[:64]}: {outcome}"


def learned(predicate: Mapping[str, Any]) -> list[str]:
    """Return what a recheck showed, a sentence each: counts, and the bound for the steps that were not run again."""
    lines = []
    for part, noun in NOUNS.items():
        about, statuses = predicate[part], Counter(one["status"] for one in predicate[part]["checked"])
        claimed, others = about["claimed"], about["others"]
        drawn, population = claimed["drawn"] + others["drawn"], claimed["population"] + others["population"]
        if not drawn:
            continue
        counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        lines.append(
            f"{drawn} of {population} {noun}s were run again, {claimed['drawn']} of them among the"
            f" {claimed['population']} that a paper's claim rests on: {counts}."
        )
        if not statuses[DIFFERS]:
            lines += _bounds(about, noun, population, predicate["rule"]["confidence"])
    false = mismatches(predicate)
    if false:
        lines.append(
            f"{len(false)} differ from what was recorded: {', '.join(false[:5])}{' ...' if false[5:] else ''}."
        )
    return lines


def _bounds(about: Mapping[str, Any], noun: str, population: int, confidence: float) -> list[str]:
    """Return the smallest number of false steps that the draw would have shown, of all and of those with claims."""
    shown, lines = about["would_show"], []
    for key, number, which in (
        ("claimed", about["claimed"]["population"], f"of the {noun}s that a claim rests on"),
        ("all", population, f"of all {noun}s"),
    ):
        if shown[key] and number and not (key == "claimed" and not about["others"]["population"]):
            lines.append(
                f"If {shown[key]} or more {which} ({100 * shown[key] / number:.0f} %) were false,"
                f" this would have shown with {100 * confidence:.0f} % probability."
            )
    return lines
