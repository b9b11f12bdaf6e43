"""How training makes its adversarial images: the inner problems of adversarial training.

All differentiate with respect to the images only, with the model in evaluation mode (running statistics in batch
norm), and leave its modes, statistics and gradients as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor, nn

from pipeline.attacks.objectives import cross_entropy, kl_divergence
from pipeline.attacks.pgd import Budget, Start, evaluating, pgd


def maximise_cross_entropy(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    generator: torch.Generator,
    start: Start = "uniform",
    before_step: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Return argmax over the ball of CE(f(x'), y), by PGD from a uniform start (Madry et al., ICLR 2018)."""
    objective = partial(cross_entropy, y=y)
    with evaluating(model):
        return pgd(
            model, x, budget=budget, objective=objective, start=start, generator=generator, before_step=before_step
        )


def noisy_step(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    generator: torch.Generator,
    noise_over_eps: float,
    step_over_eps: float,
) -> Tensor:
    """Return x + noise + one step up CE(f(x + noise), y), clipped to [0, 1] (N-FGSM: de Jorge et al., NeurIPS 2022).

    The noise is uniform in the ball of radius noise_over_eps x eps. Nothing is projected back into the ball of eps:
    the images may leave it, by design. Of the budget only the threat model counts.
    """
    threat = budget.threat
    wider = replace(threat, eps=threat.eps * Fraction(str(noise_over_eps)))
    noisy = (x + wider.uniform(x, generator)).clamp(0, 1).requires_grad_()
    with evaluating(model), torch.enable_grad():
        (gradient,) = torch.autograd.grad(cross_entropy(model(noisy), y).sum(), noisy)
    step = step_over_eps * float(threat.eps)
    return (noisy + step * threat.ascend(gradient)).clamp(0, 1).detach()


def maximise_kl(model: nn.Module, x: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
    """Return argmax over the ball of KL(f(x) || f(x')), by PGD from a Gaussian start (Zhang et al., ICML 2019)."""
    with evaluating(model):
        with torch.no_grad():
            clean = model(x)
        objective = partial(kl_divergence, clean)
        return pgd(model, x, budget=budget, objective=objective, start="gaussian", generator=generator)
