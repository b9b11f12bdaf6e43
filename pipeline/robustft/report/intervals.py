"""How sure a difference of accuracies is: its 95 % interval and p-value, from seeds, images and rounding.

    half-width = sqrt((t se_seeds)^2 + (z se_images)^2) + rounding

t is Student's quantile with the degrees of freedom of the seeds, z the normal one. Seeds and images are crossed (each
seed's model sees the same images), so their errors are independent. All quantities are shares: 0.01 is one point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from robustft.report.statistics import mean, two_sided_t, two_sided_z

LEVEL = 0.05
"""The error of an interval: it misses the truth this often."""


class Seeds(NamedTuple):
    """The standard error that comes from seeds, and its degrees of freedom; (0, 0) if nothing was trained."""

    error: float
    degrees: int


class Interval(NamedTuple):
    """An estimate with its 95 % interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A measured difference with its independent sources of error."""

    value: float
    seeds: Seeds
    images: float = 0.0
    """The standard error that comes from the sampling of test images."""
    rounding: float = 0.0
    """The largest error of a printed number. It is no random error, so it is added in full."""

    def half_width(self, error: float = LEVEL) -> float:
        """Return the half-width of the interval that misses the truth with the probability `error`."""
        seeds = two_sided_t(self.seeds.degrees, error) * self.seeds.error if self.seeds.error else 0.0
        images = two_sided_z(error) * self.images if self.images else 0.0
        return math.hypot(seeds, images) + self.rounding

    def interval(self) -> Interval:
        """Return the 95 % interval."""
        half = self.half_width()
        return Interval(self.value, self.value - half, self.value + half)

    def p(self) -> float:
        """Return the two-sided p-value against zero: the error at which the interval just reaches zero."""
        distance = abs(self.value)
        if distance <= self.rounding:
            return 1.0
        low, high = -700.0, 0.0  # the logarithm of the error
        if self.half_width(math.exp(low)) < distance:
            return 0.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.half_width(math.exp(middle)) > distance else (low, middle)
        return math.exp(high)


# -- seeds -------------------------------------------------------------------------------------------------------------


def seeds_independent(*sides: Sequence[float], published_runs: int | None = None) -> Seeds:
    """Return the error of a difference of means of independent runs, from one accuracy for each seed of each side.

    The sides' variances are pooled, as in Student's test. With three seeds each this is sqrt((sL^2 + sR^2)/3) with
    four degrees of freedom. A side without any spread (the pre-trained model itself) has no error and tells nothing of
    the other's. Sides that share runs are one side here: their differences by seed.

    Args:
        sides: accuracies by seed, at least two each.
        published_runs: if given, the difference is from a published one whose sides are each the mean of so many runs
            with the same spread: t s sqrt(1/n + 1/K).
    """
    random = [side for side in sides if len(set(side)) > 1]
    degrees = sum(len(side) - 1 for side in random)
    if not degrees:
        return Seeds(0.0, 0)
    squares = math.fsum((value - mean(side)) ** 2 for side in random for value in side)
    published = 1 / published_runs if published_runs else 0.0
    return Seeds(math.sqrt(squares / degrees * sum(1 / len(side) + published for side in random)), degrees)


def seeds_needed(seeds: Seeds, count: int, published_runs: int, margin: float, *, most: int = 1000) -> int | None:
    """Return how many seeds give a half-width within a margin if their spread stays; None if no number does.

    Args:
        seeds: the error of `count` seeds of one side against a published value.
        count: the number of seeds measured.
        published_runs: the number of runs behind the published value. Its own spread does not shrink with our seeds.
        margin: what is left of the margin after rounding.
        most: the largest number that is tried.
    """
    sd = seeds.error / math.sqrt(1 / count + 1 / published_runs)
    for number in range(2, most + 1):
        if two_sided_t(number - 1, LEVEL) * sd * math.sqrt(1 / number + 1 / published_runs) <= margin:
            return number
    return None


# -- images ------------------------------------------------------------------------------------------------------------


def images_paired(images: int, total: float, squares: float, whole: float = math.inf) -> float:
    """Return the standard error of a mean difference on the same images.

    One image is added on which only the left side is correct, and one for the right side (Agresti and Min, Statistics
    in Medicine 2005): two models that agree on all images seen may differ on others.

    Args:
        images: their number, n.
        total: the sum over images of the difference, averaged over seeds, of each image.
        squares: the sum of the squares of these differences.
        whole: the number of images that these are a sample of. By default as many as there could be.
    """
    n = images + 2
    return math.sqrt(((squares + 2) / n - (total / n) ** 2) / n * _unseen(images, whole))


def images_sampled(share: float, images: int, whole: float) -> float:
    """Return the standard error of an accuracy on some images as one on the `whole` set that they are a sample of.

    The variance is p(1 - p)/n with two successes and two failures added (Agresti and Coull, The American Statistician
    1998): a model that keeps none of n images is not known to keep none.
    """
    n = images + 4
    padded = (share * images + 2) / n
    return math.sqrt(padded * (1 - padded) / n * _unseen(images, whole))


def _unseen(images: int, whole: float) -> float:
    """Return the part of a set that a sample leaves out: the whole set has no error of sampling."""
    return 1 - images / max(whole, images)


def average(errors: Sequence[float]) -> float:
    """Return the standard error of a plain mean of independent quantities: papers average over data sets."""
    return math.hypot(*errors) / len(errors)
