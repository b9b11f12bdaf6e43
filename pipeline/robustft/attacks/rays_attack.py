"""RayS: a black-box attack that sees nothing of a model but the class that it answers.

Chen and Gu. RayS: A Ray Searching Method for Hard-label Adversarial Attack. KDD 2020. arXiv 2006.12792.

It walks from the image along a direction in {-1, 1}^n to the decision boundary. Signs are flipped in blocks, first of
all pixels, then of halves, quarters and so on; a flip is kept if the boundary is nearer in the new direction.

| paper | here |
| --- | --- |
| direction d, g(d) its distance to the boundary, as Linf | `signs`, `radius` |
| fast check: is the best radius enough in the new direction? | the first query of an attempt |
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
    """Return images within Linf eps of x (n, C, H, W) that are not classified as y, or x itself where none was found.

    An image is left alone once its radius is within eps, or when `queries` answers were asked for it; a search that
    has begun is finished. Nothing is random, so the generator is not used. Raises ConfigError for another norm.
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
        tried = signs[left]
        tried[:, block] *= -1
        ray = _Ray(model, x[left], y[left], tried)
        distance = ray.boundary(radius[left], tolerance=TOLERANCE / math.sqrt(pixels))
        nearer = distance < radius[left]
        signs[left[nearer]], radius[left[nearer]] = tried[nearer], distance[nearer]
        used[left] += ray.used
    broken = radius <= eps
    x_adv = x.clone()
    x_adv[broken] = _along(x[broken], signs[broken], radius[broken])
    return threat.project(x_adv, x)


def _blocks(pixels: int) -> Iterator[slice]:
    """Yield all pixels, then halves, quarters ... and for ever single pixels."""
    parts = 1
    while True:
        size = math.ceil(pixels / parts)
        yield from (slice(start, min(start + size, pixels)) for start in range(0, pixels, size))
        parts *= 2


def _along(x: Tensor, signs: Tensor, radius: Tensor) -> Tensor:
    """Return the images at a radius (n,) along their directions (n, pixels); at radius 1 they are black and white."""
    return (x + (radius.clamp_max(1.0)[:, None] * signs).view_as(x)).clamp(0, 1)


class _Ray:
    """A direction for each image, and how many answers were asked along it."""

    def __init__(self, model: nn.Module, x: Tensor, y: Tensor, signs: Tensor) -> None:
        self._model, self._x, self._y, self._signs = model, x, y, signs
        self.used = torch.zeros_like(y)

    def _crossed(self, which: Tensor, radius: Tensor) -> Tensor:
        """Tell of some images whether they are classified as something else at a radius."""
        self.used[which] += 1
        with torch.no_grad():
            answer = self._model(_along(self._x[which], self._signs[which], radius)).argmax(1)
        return answer != self._y[which]

    def boundary(self, best: Tensor, *, tolerance: float) -> Tensor:
        """Return the radius of the boundary (n,), or infinity where it is not crossed at the best radius so far."""
        everything = torch.arange(len(best), device=best.device)
        crossed = self._crossed(everything, best)
        low, high = torch.zeros_like(best), best.clamp_max(1.0)
        search = everything[crossed & (high > tolerance)]
        while len(search):
            middle = (low[search] + high[search]) / 2
            inside = ~self._crossed(search, middle)
            low[search[inside]], high[search[~inside]] = middle[inside], middle[~inside]
            search = search[(high - low)[search] > tolerance]
        return high.masked_fill(~crossed, math.inf)
