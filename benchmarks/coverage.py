"""How often the intervals of verdicts hold the truth, by simulation.

Run it: python -m benchmarks.coverage [REPETITIONS]

Models are correct on image i with seed s where base + image_i + method_i + seed_s + noise_is > 0, each part normal. So
seeds and images are crossed: images differ in how hard they are, methods in which ones they find hard, and a seed
moves all images of a data set together. The share of correct images over all images and seeds is known in closed form.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robustft.report.comparisons import Measured, difference, from_published
from robustft.report.intervals import Interval

SEEDS = 3


@dataclass(frozen=True)
class Setting:
    """One kind of claim and data."""

    kind: str
    """A key of `KINDS`."""
    images: int
    seed_sd: float
    left: float = 0.0
    """Base of the left method: 0 is an accuracy of one half."""
    right: float = 0.2
    image_sd: float = 1.0
    method_sd: float = 0.5
    noise_sd: float = 0.5
    datasets: int = 1
    whole: int = 4000
    """Images of the public test set, for a published value."""
    right_seed_sd: float | None = None
    """Spread of the right method's seeds, if it is another one than the left method's."""

    @property
    def sd(self) -> float:
        """The standard deviation of everything that is added to the base."""
        return math.hypot(self.image_sd, self.method_sd, self.seed_sd, self.noise_sd)


def share(base: float, sd: float) -> float:
    """Return the share of correct images over all images and seeds."""
    return 0.5 * math.erfc(-base / sd / math.sqrt(2))


Drawn = tuple[Interval, float]
"""An interval, and the truth that it is to hold."""


def independent(setting: Setting, random: np.random.Generator) -> Drawn:
    """Two methods with runs of their own, on the same images of each data set."""
    right = setting if setting.right_seed_sd is None else replace(setting, seed_sd=setting.right_seed_sd)
    sides: list[list[np.ndarray]] = [[], []]
    for _ in range(setting.datasets):
        image = random.normal(0, setting.image_sd, setting.images)
        for side, method, base in zip(sides, (setting, right), (setting.left, setting.right), strict=True):
            side.append(_correct(base + image, method, random, SEEDS))
    truth = share(setting.left, setting.sd) - share(setting.right, right.sd)
    return difference(_measured(sides, paired=False)).interval(), truth


def sharing(setting: Setting, random: np.random.Generator) -> Drawn:
    """One model under a weak and a strong attack: the strong one takes the same runs a little further down."""
    further = 0.4
    sides: list[list[np.ndarray]] = [[], []]
    for _ in range(setting.datasets):
        image = random.normal(0, setting.image_sd, setting.images)
        weak = _latent(setting.left + image, setting, random, SEEDS)
        sides[0].append((weak > 0).astype(float))
        sides[1].append((weak - setting.right + random.normal(0, further, weak.shape) > 0).astype(float))
    truth = share(setting.left, setting.sd) - share(setting.left - setting.right, math.hypot(setting.sd, further))
    return difference(_measured(sides, paired=True)).interval(), truth


def published(setting: Setting, random: np.random.Generator) -> Drawn:
    """A published run of a method on the whole test set, ours of the same method on its first images: no difference."""
    image = random.normal(0, setting.image_sd, setting.whole)
    runs = _correct(setting.left + image, setting, random, SEEDS + 1)
    claim: dict[str, Any] = {"value": round(100 * float(runs[-1].mean()), 2), "decimals": 2}
    whole = {"0": setting.whole}
    found = _measured([[runs[:-1, : setting.images]]], paired=False)
    return from_published(found, claim, whole, whole).interval(), 0.0


KINDS: dict[str, Callable[[Setting, np.random.Generator], Drawn]] = {
    "independent": independent,
    "sharing": sharing,
    "published": published,
}


def _latent(image: np.ndarray, setting: Setting, random: np.random.Generator, seeds: int) -> np.ndarray:
    """Return (seeds, n) sums of a method's parts; positive is correct."""
    method = random.normal(0, setting.method_sd, len(image))
    seed = random.normal(0, setting.seed_sd, (seeds, 1))
    return image + method + seed + random.normal(0, setting.noise_sd, (seeds, len(image)))


def _correct(image: np.ndarray, setting: Setting, random: np.random.Generator, seeds: int) -> np.ndarray:
    return (_latent(image, setting, random, seeds) > 0).astype(float)


def _measured(sides: list[list[np.ndarray]], *, paired: bool) -> Measured:
    """Return what the report makes of outcomes: for each side and data set a (seeds, n) array."""
    per_seed = [np.mean([one.mean(axis=1) for one in side], axis=0) for side in sides]
    if paired:
        per_seed = [per_seed[0] - per_seed[1]]
    means = [[one.mean(axis=0) for one in side] for side in sides]
    left, right = means[0], means[1] if len(sides) == 2 else [0.0] * len(means[0])
    by_image = {str(number): one - other for number, (one, other) in enumerate(zip(left, right, strict=True))}
    return Measured([one.tolist() for one in per_seed], by_image, SEEDS, two_sided=len(sides) == 2, of_images=True)


def misses(setting: Setting, repetitions: int, *, seed: int = 0) -> tuple[int, float]:
    """Return how many intervals do not hold the truth, and the mean half-width."""
    random, missed, widths = np.random.default_rng(seed), 0, 0.0
    for _ in range(repetitions):
        interval, truth = KINDS[setting.kind](setting, random)
        missed += not interval.low <= truth <= interval.high
        widths += (interval.high - interval.low) / 2
    return missed, widths / repetitions


def settings() -> list[Setting]:
    """Return the grid over kinds of claims, images, spreads of seeds, levels of accuracy, and data sets."""
    found = []
    for kind in KINDS:
        for images in (64, 1000, 4000):
            for seed_sd in (0.0, 0.05, 0.3):
                base = Setting(kind, images, seed_sd)
                found += [base, replace(base, left=-1.5, right=-1.4 if kind == "independent" else 0.2)]
                found += [replace(base, datasets=3)] if kind != "published" else []
    unequal = [Setting("independent", images, 0.05, right_seed_sd=0.3) for images in (64, 1000, 4000)]
    return found + unequal


def main(repetitions: int) -> None:
    """Print the coverage of each setting."""
    sys.stdout.write("kind         images  data sets  seed sd  right's  accuracy  coverage  half-width in points\n")
    for one in settings():
        missed, width = misses(one, repetitions)
        right = one.seed_sd if one.right_seed_sd is None else one.right_seed_sd
        sys.stdout.write(
            f"{one.kind:12} {one.images:6}  {one.datasets:9}  {one.seed_sd:7}  {right:7}"
            f"  {share(one.left, one.sd):8.3f}  {1 - missed / repetitions:8.4f}  {100 * width:.2f}\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
