"""RayS: a black-box attack that sees only the class that a model predicts.

Chen and Gu. RayS: A Ray Searching Method for Hard-label Adversarial Attack. KDD 2020. arXiv 2006.12792.

It searches the decision boundary along a direction in {-1, 1}^n from the image. It flips the signs of blocks: of all
pixels, then of halves, quarters and so on. A flip stays if the boundary is nearer in the new direction.

| paper | here |
| --- | --- |
| direction d, g(d) its distance to the boundary, as Linf | `signs`, `radius` |
| fast check: does the best radius cross the boundary in the new direction? | the first query of a flip |
| binary search to 0.001 in L2 | to 0.001 / sqrt(n) in Linf |
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError

TOLERANCE = 1e-3
"""Of the binary search, as an L2 distance (released code)."""


def rays(
    model: nn.Module, x: Tensor, y: Tensor, *, threat: ThreatModel, generator: torch.Generator, queries: int
) -> Tensor:
    """Return images (n, C, H, W) within Linf eps of x, misclassified if the search succeeds, else x itself.

    The search of an image ends once its radius is within eps or its `queries` predictions are used up; a binary search
    that has begun is finished. Nothing is random, so the generator is not used.

    Args:
        model: images in [0, 1] -> logits (n, K).
        x: images (n, C, H, W) in [0, 1].
        y: labels (n,).
        threat: Linf and its eps.
        generator: not used.
        queries: predictions for an image.

    Raises:
        ConfigError: the norm is not Linf.
    """
    if threat.norm != "linf":
        raise ConfigError("RayS is an Linf attack here", where="config/attacks.yaml", observed=threat.norm)
    pixels, eps = x[0].numel(), float(threat.eps)
    signs = x.new_ones(len(x), pixels)
    radius = x.new_full((len(x),), math.inf)
    used = torch.zeros_like(y)
    for block in _blocks(pixels):
        left = ((radius > eps) & (used < queries)).nonzero().squeeze(1)
        if not len(left):
            break
        flipped = signs[left]
        flipped[:, block] *= -1
        ray = _Ray(model, x[left], y[left], flipped)
        distance = ray.boundary(radius[left], tolerance=TOLERANCE / math.sqrt(pixels))
        nearer = distance < radius[left]
        signs[left[nearer]], radius[left[nearer]] = flipped[nearer], distance[nearer]
        used[left] += ray.used
    broken = radius <= eps
    x_adv = x.clone()
    x_adv[broken] = _along(x[broken], signs[broken], radius[broken])
    return threat.project(x_adv, x)


def _blocks(pixels: int) -> Iterator[slice]:
    """Yield all pixels, then halves, quarters and so on, and single pixels for ever."""
    parts = 1
    while True:
        size = math.ceil(pixels / parts)
        yield from (slice(start, min(start + size, pixels)) for start in range(0, pixels, size))
        parts *= 2


def _along(x: Tensor, signs: Tensor, radius: Tensor) -> Tensor:
    """Return the images at a radius (n,) along their directions (n, pixels); at radius 1 they are black and white."""
    return (x + (radius.clamp_max(1.0)[:, None] * signs).view_as(x)).clamp(0, 1)


class _Ray:
    """A direction for each image, and the number of predictions along it so far, `used` (n,)."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, signs: Tensor) -> None:
        self._model, self._x, self._y, self._signs = model, x, y, signs
        self.used = torch.zeros_like(y)

    def _crossed(self, which: Tensor, radius: Tensor) -> Tensor:
        """Return whether the images `which` (m,) are misclassified at their radius (m,), (m,) bool."""
        self.used[which] += 1
        with torch.no_grad():
            prediction = self._model(_along(self._x[which], self._signs[which], radius)).argmax(1)
        return prediction != self._y[which]

    def boundary(self, best: Tensor, *, tolerance: float) -> Tensor:
        """Return the radius of the boundary (n,), or infinity where it is not crossed at the best radius so far."""
        every = torch.arange(len(best), device=best.device)
        crossed = self._crossed(every, best)
        low, high = torch.zeros_like(best), best.clamp_max(1.0)
        search = every[crossed & (high > tolerance)]
        while len(search):
            middle = (low[search] + high[search]) / 2
            inside = ~self._crossed(search, middle)
            low[search[inside]], high[search[~inside]] = middle[inside], middle[~inside]
            search = search[(high - low)[search] > tolerance]
        return high.masked_fill(~crossed, math.inf)
