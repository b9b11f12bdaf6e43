"""The draw: which steps are run again, and what a sample without a fault says about the others.

The rank of a step is the SHA-256 of the verifier's seed and the step's name, so every draw can be made again, in any
language. Steps that a claim rests on are one stratum, the others a second one; within each, the steps of lowest rank
are a simple random sample without replacement. The author of the results cannot know the seed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
"""How sure a statement about the steps that were not run again is."""

CLAIMED = 0.6
"""The share of the draw that goes to the steps that a claim rests on."""


@dataclass(frozen=True)
class Stratum:
    """Some steps of which a number was drawn."""

    population: int
    drawn: int


@dataclass(frozen=True)
class Draw:
    """The drawn steps by key, those with claims first, and the strata they are of."""

    keys: list[str]
    claimed: Stratum
    others: Stratum

    @property
    def strata(self) -> list[Stratum]:
        """Both strata."""
        return [self.claimed, self.others]


def seed_of(nonce: str, root: str) -> str:
    """Return the seed that a nonce and a root give: nobody can choose it who does not choose the nonce."""
    return hashlib.sha256(f"{root}:{nonce}".encode()).hexdigest()


def ranked(keys: Collection[str], seed: str) -> list[str]:
    """Return names in the order that a seed gives them."""
    return sorted(keys, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest())


def shares(count: int, claimed: int, others: int) -> tuple[int, int]:
    """Return how many of `count` are drawn of each stratum, given the sizes of both.

    >>> shares(20, claimed=300, others=352), shares(20, claimed=0, others=652), shares(9, claimed=3, others=2)
    ((12, 8), (0, 20), (3, 2))
    """
    first = min(claimed, math.ceil(CLAIMED * count) if others else count)
    second = min(others, count - first)
    return min(claimed, count - second), second


def draw(population: Sequence[str], claims: Collection[str], *, count: int, seed: str) -> Draw:
    """Draw `count` of the steps of a population, most of them among those that a claim rests on."""
    strata = ([key for key in population if key in claims], [key for key in population if key not in claims])
    numbers = shares(count, *map(len, strata))
    keys = [key for steps, number in zip(strata, numbers, strict=True) for key in ranked(steps, seed)[:number]]
    claimed, others = (Stratum(len(steps), number) for steps, number in zip(strata, numbers, strict=True))
    return Draw(keys, claimed, others)


def missed(stratum: Stratum, false: int) -> float:
    """Return the probability that a sample without replacement has none of `false` steps: C(N - f, k) / C(N, k)."""
    n, k = stratum.population, stratum.drawn
    if false + k > n:
        return 0.0
    log = [math.lgamma(n - false + 1), -math.lgamma(n - false - k + 1), -math.lgamma(n + 1), math.lgamma(n - k + 1)]
    return math.exp(math.fsum(log))


def would_show(strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> int | None:
    """Return the smallest number of false steps of which the draw would have had one with this probability.

    However they are spread over one or two strata: where they are seldom drawn, they are missed most. None if there is
    no such number, since nothing was drawn of a stratum.
    """
    first, second = (*strata, Stratum(0, 0))[:2]

    def worst(false: int) -> float:
        fewest = max(0, false - second.population)
        return max(
            missed(first, one) * missed(second, false - one) for one in range(fewest, min(false, first.population) + 1)
        )

    low, high = 1, first.population + second.population
    if high < 1 or worst(high) > 1 - confidence:
        return None
    while low < high:  # one more false step is never missed more easily
        middle = (low + high) // 2
        low, high = (low, middle) if worst(middle) <= 1 - confidence else (middle + 1, high)
    return low
