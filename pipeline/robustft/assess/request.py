"""What a user asks for: threats from a text, attacks from the catalogue, and where things go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from robustft.config.load import load_document
from robustft.errors import RobustftError, lookup, nearest
from robustft.files import project_path

NORMS = ("linf", "l2", "l1")
DEFAULT_ATTACKS = ("clean", "pgd20", "cw", "autoattack")
MOST_RADII = 64

Eps = str | int | float | Fraction


@dataclass(frozen=True)
class Settings:
    """How a model is attacked."""

    norm: str = "linf"
    eps: tuple[Fraction, ...] = (Fraction(8, 255),)
    attacks: tuple[str, ...] = DEFAULT_ATTACKS
    images: int | None = None
    """The first so many of the split; all of it if not given."""
    split: str | None = None
    device: str = "cpu"
    seed: int = 0
    shard: int = 250
    threads: int = 1


def radii(text: Eps | Sequence[Eps]) -> tuple[Fraction, ...]:
    """Return each eps of a text such as `8/255`, `1/2,1` or `1/255..16/255`: with one denominator, step by step.

    >>> [str(one) for one in radii("1/4..3/4")]
    ['1/4', '1/2', '3/4']
    """
    if isinstance(text, list | tuple):
        return tuple(dict.fromkeys(one for part in text for one in radii(part)))
    found: list[Fraction] = []
    for part in str(text).split(","):
        first, dots, last = part.strip().partition("..")
        found += _from_to(first, last) if dots else [_number(first)]
    if not 0 < len(found) <= MOST_RADII:
        raise RobustftError(f"at most {MOST_RADII} eps at a time", observed=f"{len(found)} in '{text}'")
    return tuple(dict.fromkeys(found))


def _from_to(first: str, last: str) -> list[Fraction]:
    whole = re.compile(r"(\d+)/(\d+)$")
    begin, end = whole.match(first), whole.match(last)
    if not begin or not end or begin[2] != end[2] or int(begin[1]) > int(end[1]):
        raise RobustftError(
            "a range of eps goes up from one fraction to another of the same denominator",
            expected="such as 1/255..16/255",
            observed=f"{first}..{last}",
        )
    return [Fraction(number, int(begin[2])) for number in range(int(begin[1]), int(end[1]) + 1) if number]


def _number(text: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise RobustftError(
            "eps is no number", observed=repr(text), next_step='write it like "8/255" or 0.5'
        ) from error
    simple = value.limit_denominator(1000)
    value = simple if float(simple) == float(value) else value
    if value <= 0:
        raise RobustftError("eps must be positive", observed=text)
    return value


def check_norm(norm: str, attacks: Sequence[str]) -> str:
    """Return the norm. Raises RobustftError for an unknown one, and for one that an attack is not made for."""
    if norm not in NORMS:
        raise RobustftError(f"unknown norm '{norm}'", next_step=nearest(norm, NORMS))
    if norm == "l1" and "autoattack" in attacks:
        raise RobustftError(
            "AutoAttack is run for linf and l2 here", observed="l1", next_step="add --attacks clean,pgd20,cw"
        )
    return norm


def attack_entries(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the attacks of config/attacks.yaml by name, `clean` first. Raises RobustftError for an unknown one."""
    path = project_path("config/attacks.yaml")
    known = load_document(path, "attacks").values["attacks"]
    chosen = dict.fromkeys(("clean", *names))
    return [{"name": name, **lookup(known, name, kind="attack", where="config/attacks.yaml")} for name in chosen]


def default_folder(title: str, data: str) -> Path:
    """Return where an evaluation goes by default: evaluations/MODEL-DATA."""
    name = "-".join(Path(part).stem if "/" in part else part for part in (title, data.rstrip("/")))
    return Path("evaluations") / re.sub(r"[^\w.-]+", "_", name).strip("_.")
