"""How training makes its adversarial images: the two inner problems that adversarial training uses.

Both differentiate with respect to the images only, with the model in evaluation mode (running statistics in batch
norm), and leave its modes, statistics and gradients as they were.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from pipeline.attacks.objectives import cross_entropy, kl_divergence
from pipeline.attacks.pgd import Budget, evaluating, pgd


def maximise_cross_entropy(
    model: nn.Module, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator
) -> Tensor:
    """Return argmax over the ball of CE(f(x'), y), by PGD from a uniform start (Madry et al., ICLR 2018)."""
    objective = partial(cross_entropy, y=y)
    with evaluating(model):
        return pgd(model, x, budget=budget, objective=objective, start="uniform", generator=generator)


def maximise_kl(model: nn.Module, x: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
    """Return argmax over the ball of KL(f(x) || f(x')), by PGD from a Gaussian start (Zhang et al., ICML 2019)."""
    with evaluating(model):
        with torch.no_grad():
            clean = model(x)
        objective = partial(kl_divergence, clean)
        return pgd(model, x, budget=budget, objective=objective, start="gaussian", generator=generator)
