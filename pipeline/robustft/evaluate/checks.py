"""Checks made on the model while it is attacked; the report makes sanity checks of them.

Each failure has caused a wrong robust accuracy in public code (Athalye et al., ICML 2018; Carlini et al., 2019).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor, nn

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel


def model_checks(model: nn.Module, x: Tensor, y: Tensor, *, threat: ThreatModel) -> dict[str, float]:
    """Measure what must hold for a gradient attack on `model` (in evaluation mode) to mean anything.

    `x` (n, C, H, W) in [0, 1] and `y` (n,) are some images and their labels.

    Returns:
        modules_in_training_mode: how many; must be 0.
        logits_not_finite: share of logits that are infinite or no number; must be 0.
        pixels_outside: largest distance of a pixel from [0, 1]; must be 0.
        repeat_difference: largest difference of logits between two passes; must be 0.
        batch_difference: largest difference of an image's logits alone and in the batch; rounding only.
        zero_gradients: share of images whose cross-entropy has an input gradient of exactly zero.
        eps0_changes: images whose prediction PGD changes at eps = 0; must be 0.
        probabilities: 1 if the outputs look like probabilities instead of logits; must be 0.
    """
    with torch.no_grad():
        logits, again = model(x), model(x)
        few = min(8, len(x))
        alone = torch.cat([model(x[i : i + 1]) for i in range(few)])
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(model(leaf), y).sum(), leaf)
    no_budget = Budget(ThreatModel(threat.norm, Fraction(0)), 3, Fraction(1, 4))
    unmoved = pgd(model, x, budget=no_budget, objective=lambda z: cross_entropy(z, y), start="none")
    with torch.no_grad():
        changed = int((model(unmoved).argmax(1) != logits.argmax(1)).sum())
    return {
        "modules_in_training_mode": float(sum(module.training for module in model.modules())),
        "logits_not_finite": float((~logits.isfinite()).float().mean()),
        "pixels_outside": _largest(torch.maximum(-x, x - 1)),
        "repeat_difference": _largest((logits - again).abs()),
        "batch_difference": _largest((logits[:few] - alone).abs()),
        "zero_gradients": float((gradient.flatten(1).abs().amax(1) == 0).float().mean()),
        "eps0_changes": float(changed),
        "probabilities": float(bool(logits.min() >= 0) and bool(((logits.sum(1) - 1).abs() < 1e-5).all())),
    }


def _largest(values: Tensor) -> float:
    """Return the largest value, at least 0. It ignores NaN, which has a check of its own."""
    return float(values.nan_to_num(nan=0.0, posinf=1e30).clamp_min(0).max())


def perturbation_checks(
    model: Callable[[Tensor], Tensor],
    x_adv: Tensor,
    x: Tensor,
    prediction: Tensor,
    *,
    threat: ThreatModel,
    distance: Tensor | None = None,
) -> dict[str, float]:
    """Measure whether adversarial images (n, C, H, W) lie in the ball and in [0, 1], and `prediction` (n,) repeats.

    `distance` (n,) is the norm of what eps bounds, if that is something other than the change of pixels. `over_eps` is
    relative for a radius above 1, such as those of L1, as the rounding of a norm grows with its value.
    """
    eps = float(threat.eps)
    unknown = x_adv.isnan().sum() + (0 if distance is None else distance.isnan().sum())
    distance = threat.distance(x_adv, x) if distance is None else distance
    with torch.no_grad():
        rescored = model(x_adv).argmax(1)
    return {
        "over_eps": _largest(distance - eps) / max(1.0, eps),
        "adversarial_pixels_outside": _largest(torch.maximum(-x_adv, x_adv - 1)),
        "not_a_number": float(unknown),
        "rescored_differently": float((rescored != prediction).sum()),
    }


def unmoved_checks(x: Tensor) -> dict[str, float]:
    """Return the same checks for images (n, C, H, W) that an attack has left as they are."""
    return {
        "over_eps": 0.0,
        "adversarial_pixels_outside": _largest(torch.maximum(-x, x - 1)),
        "not_a_number": float(x.isnan().sum()),
        "rescored_differently": 0.0,
    }


def worst(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """Return the larger value of each check: a small value is good for every check."""
    return {name: max(first.get(name, 0.0), second.get(name, 0.0)) for name in {**first, **second}}
