"""The inner maximisation of adversarial training: argmax of a loss over a ball around each image.

All differentiate with respect to the images only, with the model in evaluation mode (running statistics in batch
norm), and leave its modes, statistics and gradients as they were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor, nn

from robustft.attacks.objectives import cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget, Initialization, evaluating, pgd
from robustft.speed.folding import folded_batch_norm
from robustft.speed.optimizations import optimizations_of


@contextlib.contextmanager
def attack_mode(model: nn.Module, x: Tensor) -> Iterator[None]:
    """Prepare a model for an attack on images x (n, C, H, W): evaluation mode, and no gradient for any weight.

    Batch norms are folded into convolutions if the model's optimizations say so. Afterwards modes and `requires_grad`
    are as before.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with contextlib.ExitStack() as stack:
        stack.enter_context(evaluating(model))
        if optimizations_of(model).folded_batch_norm:
            stack.enter_context(folded_batch_norm(model, x))
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)


def maximise_cross_entropy(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    budget: Budget,
    generator: torch.Generator,
    start: Initialization = "uniform",
    before_step: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """Return argmax over the ball of CE(f(x'), y), by PGD from a uniform start (Madry et al., ICLR 2018)."""
    objective = partial(cross_entropy, y=y)
    with attack_mode(model, x):
        return pgd(
            model,
            x,
            budget=budget,
            objective=objective,
            start=start,
            generator=generator,
            before_step=before_step,
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
    with attack_mode(model, x), torch.enable_grad():
        value = cross_entropy(model(noisy), y).sum()
        gradient = torch.autograd.grad(value, noisy)[0]
    step = step_over_eps * float(threat.eps)
    return (noisy + step * threat.ascend(gradient)).clamp(0, 1).detach()


def maximise_kl(model: nn.Module, x: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
    """Return argmax over the ball of KL(f(x) || f(x')), by PGD from a Gaussian start (Zhang et al., ICML 2019)."""
    with attack_mode(model, x):
        with torch.no_grad():
            clean = model(x)
        objective = partial(kl_divergence, clean)
        return pgd(model, x, budget=budget, objective=objective, start="gaussian", generator=generator)
