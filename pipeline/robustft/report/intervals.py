"""How far a measured share is from another, or from a published one: estimates with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robustft.report.statistics import Z95, mean, sample_sd, student_t975


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, as shares (0.01 is one point)."""

    estimate: float
    low: float
    high: float


def combined(estimate: float, *halves: float, rounding: float = 0.0) -> Interval:
    """Return the interval whose half-width is the root of the summed squares of independent ones, plus rounding.

    Rounding is no random error, so it is added in full.
    """
    half = math.hypot(*halves) + rounding
    return Interval(estimate, estimate - half, estimate + half)


def seed_half_width(values: list[float]) -> float:
    """Return the 95 % half-width of the mean of a few values by Student's t."""
    sd = sample_sd(values)
    assert sd is not None, "needs two values"
    return student_t975(len(values) - 1) * sd / math.sqrt(len(values))


def difference(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Interval:
    """Return the mean over data sets of mean(left) - mean(right), from outcomes (seeds, images) paired by both.

    Papers average accuracies over data sets, so each counts alike however many images it has. Two independent sources
    of error are combined: the seeds (Student's t over the seeds' differences) and the test images (normal, over the
    images' differences averaged over seeds, within each data set).
    """
    deltas = [left.astype(float) - right.astype(float) for left, right in pairs]
    per_seed = np.mean([delta.mean(axis=1) for delta in deltas], axis=0)
    images = [Z95 * float(delta.mean(axis=0).std(ddof=1)) / math.sqrt(delta.shape[1]) for delta in deltas]
    estimate = mean([float(delta.mean()) for delta in deltas])
    return combined(estimate, seed_half_width(per_seed.tolist()), math.hypot(*images) / len(deltas))


def sampling_half_width(shares: Sequence[float], images: Sequence[int]) -> float:
    """Return the 95 % half-width of a mean of shares, each counted on its own number of images.

    The variance of each is p(1 - p)/n with two successes and two failures added (Agresti and Coull, The American
    Statistician 1998): a model that keeps none of n images is not known to keep none.
    """
    padded = [(share * n + 2) / (n + 4) for share, n in zip(shares, images, strict=True)]
    variance = math.fsum(share * (1 - share) / (n + 4) for share, n in zip(padded, images, strict=True))
    return Z95 * math.sqrt(variance) / len(shares)


def value_interval(
    accuracies: Sequence[Sequence[float]],
    *,
    images: Sequence[int],
    published: float,
    published_images: Sequence[int],
    decimals: int,
) -> Interval:
    """Return measured - published with seeds, test sampling on both sides, and print rounding; all as shares.

    Args:
        accuracies: for each data set its accuracy by seed; a paper prints the plain mean over data sets.
        images: test images of each data set here.
        published: the published share. Of an average it does not tell the parts, so each is taken to be the average.
        published_images: test images of each data set there.
        decimals: digits behind the point of the percentage as printed; half of the last one is its rounding.
    """
    by_seed = [mean(values) for values in zip(*accuracies, strict=True)]
    halves = (
        seed_half_width(by_seed),
        sampling_half_width([mean(values) for values in accuracies], images),
        sampling_half_width([published] * len(images), published_images),
    )
    return combined(mean(by_seed) - published, *halves, rounding=0.5 * 10.0**-decimals / 100)
