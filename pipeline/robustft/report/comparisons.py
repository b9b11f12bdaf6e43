"""From outcomes to an estimate with its errors: the difference of two sides of a claim, and that from a published one.

Papers average accuracies over data sets, so each data set counts alike however many images it has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robustft.evaluate.ledger import Outcome
from robustft.report.claims import Claim
from robustft.report.evidence import Side
from robustft.report.intervals import Estimate, average, images_paired, images_sampled, seeds_independent
from robustft.report.statistics import mean
from robustft.report.training_metrics import TRAINING_METRICS


@dataclass(frozen=True)
class Measured:
    """One side, or left minus right, on the images that every seed of every side has."""

    per_seed: list[list[float]]
    """For each independent side its value by seed, averaged over data sets; sides that share runs are one."""
    by_image: Mapping[str, np.ndarray]
    """For each data set (n,) values of its images, averaged over seeds; n is 1 for a metric of training."""
    seeds: int
    """The number of seeds of the side that has fewer."""
    two_sided: bool
    of_images: bool
    """Whether the values are of test images."""

    @property
    def by_dataset(self) -> dict[str, float]:
        """The value on each data set."""
        return {dataset: float(values.mean()) for dataset, values in self.by_image.items()}

    @property
    def value(self) -> float:
        """The mean over data sets."""
        return mean(list(self.by_dataset.values()))

    @property
    def images(self) -> dict[str, int]:
        """The number of images, by data set."""
        return {dataset: len(values) for dataset, values in self.by_image.items()}


def measured(sides: Sequence[Side], datasets: Sequence[str], *, paired: bool = False) -> Measured | None:
    """Return one side, or the first minus the second.

    Sides that share runs are `paired` by seed. None if a side has no seed on all data sets, or a data set has no image
    that all have.
    """
    seeds = [side.seeds(datasets) for side in sides]
    if paired:
        seeds = [sorted(set.intersection(*map(set, seeds)))] * len(sides)
    if not datasets or not all(seeds):
        return None
    tables = [_table(sides, dataset, seeds) for dataset in datasets]
    if not all(side.size for table in tables for side in table):
        return None
    per_seed = [np.mean([side.mean(axis=1) for side in of_side], axis=0) for of_side in zip(*tables, strict=True)]
    if paired:
        per_seed = [per_seed[0] - per_seed[1]]
    signs = (1, -1)
    by_image = {
        dataset: sum(sign * side.mean(axis=0) for sign, side in zip(signs, table, strict=False))
        for dataset, table in zip(datasets, tables, strict=True)
    }
    return Measured(
        [values.tolist() for values in per_seed],
        by_image,
        min(map(len, seeds)),
        two_sided=len(sides) == 2,
        of_images=sides[0].metric not in TRAINING_METRICS,
    )


def _table(sides: Sequence[Side], dataset: str, seeds: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Return for each side (seeds, n) values on one data set: 1 for an image that is classified correctly, else 0."""
    if sides[0].metric in TRAINING_METRICS:
        return [
            np.array([[side.values[dataset, seed]] for seed in of_side])
            for side, of_side in zip(sides, seeds, strict=True)
        ]
    outcomes = [[side.outcomes[dataset, seed] for seed in of_side] for side, of_side in zip(sides, seeds, strict=True)]
    images = outcomes[0][0].image
    for outcome in (one for of_side in outcomes for one in of_side):
        images = np.intersect1d(images, outcome.image)
    return [np.array([_correct(one, images) for one in of_side], float) for of_side in outcomes]


def _correct(outcome: Outcome, images: np.ndarray) -> np.ndarray:
    """Return for each of `images` whether it is classified correctly."""
    order = np.argsort(outcome.image)
    return outcome.correct[order][np.searchsorted(outcome.image[order], images)]


def difference(found: Measured) -> Estimate:
    """Return left minus right as a claim about images like the test images."""
    images = average([_paired(values) for values in found.by_image.values()]) if found.of_images else 0.0
    return Estimate(found.value, seeds_independent(*found.per_seed), images)


def from_published(
    found: Measured, claim: Claim, published_images: Mapping[str, int], whole: Mapping[str, int]
) -> Estimate:
    """Return ours minus the published value of a claim, as a claim about the same public test images.

    The published value is taken as the mean of `runs` trainings whose spread is ours. Test images are no source of
    error where both are of the whole public test set; else each is of a sample of it. Of an average over data sets
    only the mean is published, so each data set's value is taken to be that.

    Args:
        found: what was measured.
        claim: the published value, in percent or in the unit of its metric.
        published_images: the number of images behind it, by data set.
        whole: the number of images of the public test set, by data set.
    """
    scale = 0.01 if found.of_images else 1.0
    published = claim["value"] * scale
    uncertainty = scale * claim.get("read_off", 0.5 * 10.0 ** -claim["decimals"])
    errors = [
        _of_samples(values, published, (len(values), published_images[dataset]), whole[dataset], found.two_sided)
        for dataset, values in found.by_image.items()
        if found.of_images
    ]
    seeds = seeds_independent(*found.per_seed, published_runs=claim.get("runs", 1))
    return Estimate(found.value - published, seeds, average(errors) if errors else 0.0, uncertainty)


def _of_samples(values: np.ndarray, published: float, images: tuple[int, int], whole: int, two_sided: bool) -> float:
    """Return the standard error of our value on `images[0]` images against a published one on `images[1]`."""
    whole = max(whole, *images)
    if two_sided:
        return math.hypot(*(_paired(values, number, whole) for number in images))
    shares = (float(values.mean()), published)
    return math.hypot(*(images_sampled(share, n, whole) for share, n in zip(shares, images, strict=True)))


def _paired(values: np.ndarray, images: int | None = None, whole: float = math.inf) -> float:
    """Return the standard error of the mean of differences (n,), or of as many as `images` that are like them."""
    n = images or len(values)
    factor = n / len(values)
    return images_paired(n, factor * float(values.sum()), factor * float((values**2).sum()), whole)
