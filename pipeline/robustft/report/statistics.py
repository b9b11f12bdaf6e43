"""The statistics of the report, each with its formula."""

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


def student_t975(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t distribution."""
    from scipy.special import stdtrit  # what scipy.stats.t.ppf calls, without half a second of imports

    return float(stdtrit(degrees, 0.975))
