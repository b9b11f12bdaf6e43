"""Threat models: which perturbations an attacker may add to an image in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

NORMS = ("linf", "l2")


@dataclass(frozen=True)
class ThreatModel:
    """All x' in [0, 1] with ||x' - x|| <= eps in the given norm.

    eps is an exact fraction in pixel units (8/255, not 0.031), so two records with one eps mean one eps.
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
        """Return the point of the ball around x (n, C, H, W) nearest to x_adv, then clipped to [0, 1]."""
        eps = float(self.eps)
        if self.norm == "linf":
            return torch.minimum(torch.maximum(x_adv, x - eps), x + eps).clamp(0, 1)
        delta = x_adv - x
        scale = (eps / self.distance(x_adv, x).clamp_min(1e-12)).clamp_max(1.0)
        return (x + delta * scale.view(-1, *[1] * (x.dim() - 1))).clamp(0, 1)

    def ascend(self, gradient: Tensor) -> Tensor:
        """Return the direction of steepest ascent of unit length in this norm; zero where the gradient is zero."""
        if self.norm == "linf":
            return gradient.sign()
        length = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
        return gradient / length.view(-1, *[1] * (gradient.dim() - 1))

    def uniform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return a perturbation drawn uniformly from the ball, one per image, before clipping to [0, 1]."""
        eps = float(self.eps)
        if self.norm == "linf":
            return (2 * torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) - 1) * eps
        direction = self.ascend(torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype))
        radius = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
        return direction * (eps * radius).view(-1, *[1] * (x.dim() - 1))

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return ||x_adv - x|| for each image, (n,)."""
        delta = (x_adv - x).flatten(1)
        return delta.abs().amax(dim=1) if self.norm == "linf" else delta.norm(dim=1)
