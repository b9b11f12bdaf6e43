"""The attacks of the code released with PMG-AFT (Wang et al., CVPR 2024, commit a53fdd8).

It loses CLIP's logit scale. It also back-propagates the mean loss of a batch in float16 without loss scaling: much of
so small a gradient is rounded to zero, and a pixel whose gradient is zero stays at its random start. Accuracy under
such an attack overstates robustness.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from torch import Tensor, nn

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget
from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError


class Rescaled(nn.Module):
    """A classifier whose logits are multiplied by a factor: the same predictions, another softmax."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to logits (n, K)."""
        logits: Tensor = self.model(x)
        return self.factor * logits


def with_scale_1(model: nn.Module) -> nn.Module:
    """Return the model with cosines as logits: logit scale 1. Raises ConfigError if its head has no logit scale."""
    return _rescaled(model, 1.0)


def with_scale_100(model: nn.Module) -> nn.Module:
    """Return the model with CLIP's logit scale, 100. Raises ConfigError if its head has no logit scale."""
    return _rescaled(model, 100.0)


def _rescaled(model: nn.Module, scale: float) -> nn.Module:
    own = getattr(getattr(model, "head", None), "scale", None)
    if own is None:
        raise ConfigError(
            "an attack with another logit scale needs a head that has one",
            where="config/attacks.yaml",
            observed=type(getattr(model, "head", model)).__name__,
            next_step="leave this attack out of the evaluations of this model",
        )
    rescaled = Rescaled(model, scale / float(own))
    rescaled.training = model.training
    return rescaled


def pgd_autocast(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    generator: torch.Generator,
    steps: int,
    step_over_eps: str,
) -> Tensor:
    """Return the last iterate of Linf PGD on the batch's mean cross-entropy under float16 autocast.

    The mean is over these n images, so n is part of the attack. The start is uniform in the ball. In float32 the
    gradient of the mean has the signs of the sum's, and this attack is PGD.

    Args:
        model: images in [0, 1] -> logits (n, K).
        x: images (n, C, H, W) in [0, 1], float32.
        y: labels (n,).
        threat: Linf and its eps.
        generator: of the start.
        steps: of PGD.
        step_over_eps: the length of a step over eps, a fraction such as "1/4".
    """
    budget = Budget(threat, steps, Fraction(step_over_eps))
    step = float(budget.step)
    x_adv = threat.project(x + threat.uniform(x, generator), x)
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        with torch.enable_grad(), torch.autocast(x.device.type, dtype=torch.float16):
            loss = cross_entropy(model(x_adv), y).mean()
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = threat.project(x_adv.detach() + step * gradient.sign(), x)
    return x_adv.detach()
