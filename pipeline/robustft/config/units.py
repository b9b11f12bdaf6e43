"""Units: images are in [0, 1], and a number of another unit is refused with the value that was probably meant.

Such numbers are no errors of form. An Linf eps of 8 is a ball that holds every image, so every attack succeeds; a mean
of 78 makes all inputs of a network alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

WHITE = 255
"""Full white of the pixels of picture files."""

WIDEST_STEP = 2
"""A step of this many eps leads from one side of the ball to the other: a longer one does no more."""


def fault_of_eps(norm: str, eps: str | int, shape: Sequence[int] | None = None) -> str | None:
    """Return why an eps bounds nothing in [0, 1]; None if it does. Without `shape` (C, H, W) only Linf is judged."""
    value = Fraction(str(eps))
    if norm == "linf":
        widest, what = 1.0, "1"
    elif shape is None:
        return None
    else:
        pixels = math.prod(shape)
        widest = math.sqrt(pixels) if norm == "l2" else float(pixels)
        what = f"{widest:.4g}, the distance of a black and a white image of {tuple(shape)}"
    if value <= widest:
        return None
    meant = f"; did you mean {_meant(value)}?" if _meant(value) else ""
    return f"eps {eps} is in units of images in [0, 1], where {norm} distances are at most {what}{meant}"


def _meant(value: Fraction) -> str | None:
    """Return the fraction of full white for a number of grey levels, or for a fraction upside down."""
    if value.numerator == WHITE:
        return f"{value.denominator}/{WHITE}"
    return f"{value}/{WHITE}" if value.denominator == 1 and value <= WHITE else None


def fault_of_step(step: str | int) -> str | None:
    """Return why a step size cannot be a fraction of eps; None if it can."""
    value = Fraction(str(step))
    if 0 < value <= WIDEST_STEP:
        return None
    meant = f"; did you mean {1 / value}?" if value > 1 and value.denominator == 1 else ""
    return f"step_over_eps {step} is the step as a fraction of eps, above 0 and at most {WIDEST_STEP}{meant}"


def fault_of_normalisation(mean: Sequence[float], std: Sequence[float]) -> str | None:
    """Return why means and standard deviations are not those of the channels of images in [0, 1]; None if they are."""
    if len(mean) != len(std):
        return f"{len(mean)} means and {len(std)} standard deviations: give one of each for each channel"
    for name, values in (("mean", mean), ("std", std)):
        for value in values:
            if not 0 <= value <= 1:
                meant = f"; did you mean {value / WHITE:.3g}, which is {value:g}/{WHITE}?" if 1 < value <= WHITE else ""
                return f"{name} {value:g} is of images in [0, 1], so it is from 0 to 1{meant}"
    return None
