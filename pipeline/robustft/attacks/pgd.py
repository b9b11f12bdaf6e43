"""Projected gradient ascent: the one attack loop, for training and for evaluation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustft.attacks.threat import ThreatModel

Initialization = Literal["none", "uniform", "gaussian"]

GAUSSIAN_SCALE = 0.001
"""Standard deviation of TRADES' start (Zhang et al., ICML 2019, released code), in pixel units."""


@dataclass(frozen=True)
class Budget:
    """A threat model and how many steps of which size an attack may take: steps of `step_over_eps` x eps."""

    threat: ThreatModel
    steps: int
    step_over_eps: Fraction
    epoch: float = 0.0
    """How many epochs of training are done, for attacks that warm up."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.step_over_eps <= 0:
            raise ValueError(f"an attack needs at least one step of positive size, not {self}")

    @classmethod
    def of(cls, threat: dict[str, Any], attack: dict[str, Any]) -> Budget:
        """Build from the specifications of a threat model and an attack."""
        return cls(ThreatModel.of(threat), attack["steps"], Fraction(str(attack["step_over_eps"])))

    @property
    def step(self) -> Fraction:
        """The step size in pixel units, exact."""
        return self.threat.eps * self.step_over_eps

    def __str__(self) -> str:
        return f"{self.threat}, {self.steps} steps of {self.step}"


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and each one back into its own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def pgd(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    budget: Budget,
    objective: Callable[[Tensor], Tensor],
    start: Initialization,
    generator: torch.Generator | None = None,
    before_step: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Return adversarial images for x (n, C, H, W) in [0, 1]: the last iterate of projected ascent.

    Each step moves along the gradient, with respect to the images only, of the sum over images of
    `objective(forward(images))`, then projects onto the ball and clips to [0, 1]. The start is clipped too.
    The result is detached. A random start needs a generator. `before_step` maps (iterate, x) to the point from which
    a step starts, for attacks that remove a part of the perturbation.
    """
    threat, step = budget.threat, float(budget.step)
    x = x.detach()
    if start == "none":
        x_adv = x
    else:
        if generator is None:
            raise ValueError(f"a {start} start needs a generator")
        if start == "uniform":
            noise = threat.uniform(x, generator)
        else:
            noise = GAUSSIAN_SCALE * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        x_adv = threat.project(x + noise, x)
    for _ in range(budget.steps):
        if before_step is not None:
            x_adv = before_step(x_adv, x)
        x_adv = x_adv.detach().requires_grad_()
        with torch.enable_grad():
            value = objective(forward(x_adv)).sum()
        gradient = torch.autograd.grad(value, x_adv)[0]
        x_adv = threat.project(x_adv.detach() + step * threat.ascend(gradient), x)
    return x_adv.detach()
