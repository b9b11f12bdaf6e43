"""Probes of a model of anyone's, beside the checks that every attack makes: what would make its accuracy meaningless.

They follow the signs of masked gradients in Athalye et al. (ICML 2018) and Carlini et al. (2019, On Evaluating
Adversarial Robustness), each made a share of images. `report/trust.py` has their limits and what each usually means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import torch
from torch import Tensor, nn

from robustft.attacks.objectives import cross_entropy, margin
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.runtime.randomness import generator

Objective = Callable[..., Tensor]

FEW_STEPS, MANY_STEPS = 20, 100
RANDOM_POINTS = 50
"""Random points of the ball's surface for each image."""

SMALL_STEPS = (1 / 64, 1 / 16, 1 / 4)
"""Steps along a gradient, in eps. One of them must raise the objective if the gradient means anything."""


class WithGradient(nn.Module):
    """A model whose outputs do not depend on its input for autograd, such as one behind a JPEG file.

    Its gradient is zero, as gradient attacks and checks see it; without this they would stop.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return the model's logits."""
        return self.model(x) + 0 * x.flatten(1).sum(1, keepdim=True)


def differentiable(model: nn.Module, x: Tensor) -> bool:
    """Tell whether autograd reaches images x (n, C, H, W) from the model's logits."""
    leaf = x[:1].clone().requires_grad_()
    with torch.enable_grad():
        logits = model(leaf)
    if not logits.requires_grad:
        return False
    (gradient,) = torch.autograd.grad(logits.sum(), leaf, allow_unused=True)
    return gradient is not None


@dataclass(frozen=True)
class Probe:
    """The images that a model gets right, on which it is probed under a threat model."""

    model: nn.Module
    x: Tensor
    """(n, C, H, W) in [0, 1]."""
    y: Tensor
    threat: ThreatModel
    seed: int = 0

    def values(self) -> dict[str, float]:
        """Return every probe: shares of the images, 0 where all is well.

        no_gradient: the gradient of cross-entropy and that of the margin are both exactly zero.
        vanishing_cross_entropy: that of cross-entropy is exactly zero, that of the margin is not.
        misleading_gradient: no small step up the margin's gradient raises the margin.
        random_beats_gradient: a random point of the ball is misclassified, and PGD finds none.
        more_steps_break: 100 steps break the image, 20 steps do not.
        one_step_beats_many: one step breaks the image, 20 steps do not.
        margin_beats_cross_entropy: PGD on the margin breaks the image, PGD on cross-entropy does not.
        survives_any_change: PGD with an eps that allows a grey image does not break it.
        """
        if not len(self.x):
            return {}
        by_entropy, by_margin = self._gradient(cross_entropy), self._gradient(margin)
        no_entropy, no_margin = (one.flatten(1).abs().amax(1) == 0 for one in (by_entropy, by_margin))
        few = self._left(cross_entropy, FEW_STEPS)
        few_margin = self._left(margin, FEW_STEPS)
        after_pgd = few & few_margin
        return {
            "no_gradient": _share(no_entropy & no_margin),
            "vanishing_cross_entropy": _share(no_entropy & ~no_margin),
            "misleading_gradient": _share(self._misled(by_margin) & ~no_margin),
            "random_beats_gradient": _share(after_pgd & ~self._after_random_points()),
            "more_steps_break": _share(few & ~self._left(cross_entropy, MANY_STEPS)),
            "one_step_beats_many": _share(few & ~self._left(cross_entropy, 1)),
            "margin_beats_cross_entropy": _share(few & ~few_margin),
            "survives_any_change": _share(self._left(margin, MANY_STEPS, threat=self._unbounded())),
        }

    def adversarial(self) -> Tensor:
        """Return the images after PGD on cross-entropy."""
        return self._attacked(cross_entropy, FEW_STEPS, self.threat)

    def _unbounded(self) -> ThreatModel:
        """Return a ball of the norm that holds a grey image for each image."""
        pixels = self.x[0].numel()
        half = {"linf": Fraction(1, 2), "l2": Fraction(math.isqrt(pixels) + 1, 2), "l1": Fraction(pixels, 2)}
        return ThreatModel(self.threat.norm, half[self.threat.norm])

    def _gradient(self, objective: Objective) -> Tensor:
        leaf = self.x.clone().requires_grad_()
        with torch.enable_grad():
            value = objective(self.model(leaf), self.y).sum()
        return torch.autograd.grad(value, leaf)[0].nan_to_num()

    def _attacked(self, objective: Objective, steps: int, threat: ThreatModel) -> Tensor:
        # One step of eps is FGSM; many steps of eps/4 or less end near the best point of their path.
        step = Fraction(1) if steps == 1 else min(Fraction(1, 4), Fraction(10, steps))
        return pgd(
            self.model,
            self.x,
            budget=Budget(threat, steps, step),
            objective=partial(objective, y=self.y),
            start="none" if steps == 1 else "uniform",
            generator=generator(self.x.device, self.seed, "probe", objective.__name__),
        )

    def _left(self, objective: Objective, steps: int, *, threat: ThreatModel | None = None) -> Tensor:
        """Return which images PGD leaves correct, (n,) bool."""
        return self._correct(self._attacked(objective, steps, threat or self.threat))

    @torch.no_grad()
    def _correct(self, x: Tensor) -> Tensor:
        return self.model(x).argmax(1) == self.y

    @torch.no_grad()
    def _misled(self, gradient: Tensor) -> Tensor:
        """Return on which images no small step along a gradient raises the margin, (n,) bool."""
        before = margin(self.model(self.x), self.y)
        raised = torch.zeros_like(self.y, dtype=torch.bool)
        for size in SMALL_STEPS:
            step = size * float(self.threat.eps) * self.threat.ascend(gradient)
            raised |= margin(self.model((self.x + step).clamp(0, 1)), self.y) > before
        return ~raised

    @torch.no_grad()
    def _after_random_points(self) -> Tensor:
        """Return which images stay correct at random points of the ball's surface, (n,) bool."""
        left = torch.ones_like(self.y, dtype=torch.bool)
        draws = generator(self.x.device, self.seed, "probe", "random")
        for _ in range(RANDOM_POINTS):
            noise = torch.randn(self.x.shape, generator=draws, device=self.x.device, dtype=self.x.dtype)
            point = self.threat.project(self.x + 1e3 * float(self.threat.eps) * self.threat.ascend(noise), self.x)
            left &= self._correct(point)
        return left


def behaviour(model: nn.Module, x: Tensor, x_adv: Tensor, *, classes: int) -> dict[str, float]:
    """Measure how a model behaves at test time on clean and adversarial images (n, C, H, W) each.

    Args:
        model: images -> logits (n, K).
        x: clean images.
        x_adv: adversarial images, of which there may be none.
        classes: the number of classes that the images have.

    Returns:
        relative_batch_difference: largest difference of logits alone and in the batch, over the largest logit.
        learns_at_test_time: 1 if the model takes gradients, or changes its weights or statistics, in a plain pass.
        abstains: share of images, clean or adversarial, with equal, infinite or undefined logits, or with a predicted
            class that no image has.
    """
    with torch.no_grad():
        few = x[: min(16, len(x))]
        together, alone = model(few), torch.cat([model(one[None]) for one in few])
        logits = torch.cat([model(part) for part in (x, x_adv) if len(part)])
    scale = max(1.0, float(together.nan_to_num().abs().max()))
    flat = (logits.amax(1) == logits.amin(1)) | ~logits.isfinite().all(1)
    return {
        "relative_batch_difference": float((together - alone).nan_to_num().abs().max()) / scale,
        "learns_at_test_time": float(_learns(model, x[:2])),
        "abstains": _share(flat | (logits.argmax(1) >= classes)),
    }


def _learns(model: nn.Module, x: Tensor) -> bool:
    """Tell whether a pass without gradients takes some inside, or leaves other weights or statistics behind."""
    seen: list[bool] = []
    hooks = [
        module.register_forward_pre_hook(lambda *_: seen.append(torch.is_grad_enabled())) for module in model.modules()
    ]
    before = {name: tensor.clone() for name, tensor in _state(model)}
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    changed = any(not torch.equal(before[name], tensor) for name, tensor in _state(model))
    return any(seen) or changed


def _state(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _share(images: Tensor) -> float:
    return float(images.float().mean())
