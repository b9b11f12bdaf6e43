"""The statistics of the report, each with its formula.

SciPy's special functions are imported where they are used: they cost a quarter of a second, `scipy.stats` two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def wilson(correct: int, images: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's 95 % interval for a share of `correct` among `images` (Wilson, JASA 1927)."""
    share, n = correct / images, images
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return math.fsum(values) / len(values)


def sample_sd(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (divisor n - 1), or None for fewer than two values."""
    if len(values) < 2:
        return None
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def two_sided_t(degrees: int, error: float) -> float:
    """Return the t beyond which, on both sides, Student's distribution has the probability `error`."""
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls

    return -float(stdtrit(degrees, error / 2))


def two_sided_z(error: float) -> float:
    """Return the z beyond which, on both sides, the normal distribution has the probability `error`."""
    from scipy.special import ndtri

    return -float(ndtri(error / 2))


def binomial_limit(trials: int, share: float, error: float) -> int:
    """Return the smallest k that more than k successes in `trials` exceed with a probability of at most `error`.

    `share` is the probability of a success. With 1/2 this is McNemar's exact test (Psychometrika 1947), one-sided:
    `trials` are the images on which two attacks differ.
    """
    from scipy.special import bdtrc

    low, high = 0, trials
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if bdtrc(middle, trials, share) <= error else (middle + 1, high)
    return low


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in their order (Holm, Scandinavian Journal of Statistics 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none gets smaller than the one before it.
    """
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        adjusted[place] = largest
    return adjusted
