"""Threat models: which perturbations an attacker may add to an image in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

NORMS = ("linf", "l2", "l1")

L1_SHARE = 0.05
"""Share of an image's pixels that one l1 step moves, at least one: all equally far, those with the largest gradients.

Moving a single pixel ascends most steeply, but it is at the end of [0, 1] after a step or two. Tramer and Boneh
(NeurIPS 2019) move a share too: 1 % on CIFAR-10 and 20 % on MNIST.
"""


@dataclass(frozen=True)
class ThreatModel:
    """All x' in [0, 1] with ||x' - x|| <= eps in the given norm.

    eps is an exact fraction in pixel units (8/255, not 0.031), so two records with one eps mean one eps.
    `robustft.threat` makes one from a text or a number.

    >>> import robustft, torch
    >>> threat = robustft.threat("l2", "1/2")
    >>> str(threat)
    'l2 eps 1/2'
    >>> x, x_adv = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    >>> round(threat.distance(threat.project(x_adv, x), x).item(), 3)
    0.5
    """

    norm: str
    eps: Fraction

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}, not {self.norm!r}")
        if self.eps < 0:
            raise ValueError(f"eps must not be negative, not {self.eps}")

    @classmethod
    def of(cls, spec: dict[str, Any]) -> ThreatModel:
        """Build from a specification {norm, eps}."""
        return cls(spec["norm"], Fraction(str(spec["eps"])))

    def __str__(self) -> str:
        return f"{self.norm} eps {self.eps}"

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the point of the ball around x (n, C, H, W) nearest to x_adv, then clipped to [0, 1].

        In l1 it is the nearest point of the ball that lies in [0, 1]: clipping afterwards would leave much of eps
        unused, as a few pixels take most of it (Croce and Hein, ICML 2021).
        """
        eps = float(self.eps)
        if self.norm == "linf":
            return torch.minimum(torch.maximum(x_adv, x - eps), x + eps).clamp(0, 1)
        if self.norm == "l1":
            return (x + _nearest_l1(x_adv - x, room=torch.where(x_adv > x, 1 - x, x), eps=eps)).clamp(0, 1)
        delta = x_adv - x
        scale = (eps / self.distance(x_adv, x).clamp_min(1e-12)).clamp_max(1.0)
        return (x + delta * scale.view(-1, *[1] * (x.dim() - 1))).clamp(0, 1)

    def ascend(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent of unit length in this norm; zero where the gradient is zero.

        In l1 it is spread over `L1_SHARE` of the pixels.
        """
        if self.norm == "linf":
            return gradient.sign()
        if self.norm == "l1":
            return _sparse(gradient)
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
        return gradient / length.view(-1, *[1] * (gradient.dim() - 1))

    def uniform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return a perturbation drawn uniformly from the ball, one per image, before clipping to [0, 1]."""
        eps = float(self.eps)
        if self.norm == "linf":
            return (2 * torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) - 1) * eps
        if self.norm == "l1":
            return eps * _uniform_l1(x, generator)
        direction = self.ascend(torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype))
        radius = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
        return direction * (eps * radius).view(-1, *[1] * (x.dim() - 1))

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return ||x_adv - x|| for each image, (n,)."""
        delta = (x_adv - x).flatten(1)
        if self.norm == "linf":
            return delta.abs().amax(dim=1)
        return delta.abs().sum(dim=1) if self.norm == "l1" else delta.norm(dim=1)


@dataclass(frozen=True)
class Perturbed:
    """What an attack function returns if its eps bounds something other than pixels, such as a flow."""

    images: Tensor
    """Adversarial images (n, C, H, W) in [0, 1]."""
    distance: Tensor
    """The norm of what eps bounds, (n,), in the units of eps."""


def _nearest_l1(delta: Tensor, *, room: Tensor, eps: float) -> Tensor:
    """Return the point nearest to delta (n, ...) with ||.||_1 <= eps and each |entry| <= room.

    It is sign(delta) * min(max(|delta| - t, 0), room) with the smallest t >= 0 that fits. Its length is
    S(t) = sum max(|delta| - t, 0) - sum max(|delta| - room - t, 0): linear between the corners |delta| and
    |delta| - room, so the corners are sorted and the one stretch that holds S(t) = eps is solved.
    """
    size, room = delta.abs().flatten(1).double(), room.flatten(1).double()  # sums of thousands cancel below
    corners = torch.cat([size, size - room], dim=1)
    corners, order = corners.sort(dim=1, descending=True)
    weight = torch.ones_like(corners)
    weight[order >= size.shape[1]] = -1
    slope, offset = weight.cumsum(1), (weight * corners).cumsum(1)
    length = offset - slope * corners
    # The last corner at which the length is still within eps; the first one's length is zero.
    last = ((length <= eps).sum(1, keepdim=True) - 1).clamp_min(0)
    t = (offset.gather(1, last) - eps) / slope.gather(1, last).clamp_min(1)
    return delta.sign() * torch.minimum((size - t.clamp_min(0)).clamp_min(0), room).view_as(delta).to(delta.dtype)


def _sparse(gradient: Tensor) -> Tensor:
    """Return the signs of each image's largest gradients, scaled to unit l1 length."""
    flat = gradient.flatten(1)
    largest = flat.abs().topk(math.ceil(L1_SHARE * flat.shape[1]), dim=1).indices
    direction = torch.zeros_like(flat).scatter(1, largest, flat.gather(1, largest).sign())
    return (direction / direction.abs().sum(1, keepdim=True).clamp_min(1)).view_as(gradient)


def _uniform_l1(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniformly from the unit l1 ball: n of n + 1 exponentials over their sum, with random signs.

    Barthe, Guedon, Mendelson, Naor. A probabilistic approach to the geometry of the l_p^n-ball. Ann. Probab. 2005.
    """
    n, pixels = len(x), x[0].numel()
    sizes = torch.empty(n, pixels + 1, device=x.device, dtype=x.dtype).exponential_(generator=generator)
    signs = torch.randint(0, 2, (n, pixels), generator=generator, device=x.device) * 2 - 1
    return (signs * sizes[:, 1:] / sizes.sum(1, keepdim=True)).view_as(x)
