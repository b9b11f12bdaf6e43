"""What a run shows of itself besides accuracies: norms of weights and gradients, and the loss along attacks.

Norms are of the convolutions, gradients for each group of loss terms.

For a convolution followed by batch statistics the loss does not change when the weight w is scaled, so its gradient
g is orthogonal to w and shrinks as 1/|w|; lr |g| / |w| is the relative step (the effective learning rate). With
frozen statistics neither holds. These are the quantities that the TWINS paper argues with.

ADAPT argues with the loss along two directions: that of an attack on the network without its prompts, and that of an
attack through the prompts. A model with obfuscated gradients has a small loss along the first one only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.objectives import OBJECTIVES
from robustft.attacks.pgd import Budget, evaluating, pgd
from robustft.data.batches import Images
from robustft.methods.protocol import Loss
from robustft.models.classifier import Classifier, attack_target
from robustft.parallel.sharded_batch import averaged
from robustft.runtime.randomness import generator

BATCH = 128
"""Images that are attacked together for the loss along a perturbation."""


def convolutions(model: nn.Module) -> list[Tensor]:
    """Return the convolution weights, trained or not."""
    return [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors]) if tensors else torch.zeros(0)


def gradient_diagnostics(model: nn.Module, loss: Loss) -> dict[str, float]:
    """Return |g| and cos(w, g) for each group of terms; empty if no convolution is trained. Keeps the graph."""
    weights = [weight for weight in convolutions(model) if weight.requires_grad]
    if not weights:
        return {}
    w = _flat(list(weights))
    diagnostics = {}
    for group, total in loss.groups().items():
        gradients = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True)
        g = averaged(_flat([torch.zeros_like(v) if u is None else u for u, v in zip(gradients, weights, strict=True)]))
        diagnostics[f"gradient_norm/{group}"] = g.norm().item()
        diagnostics[f"cosine/{group}"] = (g @ w / (g.norm() * w.norm()).clamp_min(1e-12)).item()
    return diagnostics


def weight_diagnostics(model: nn.Module, initial: Tensor) -> dict[str, float]:
    """Return |w| and |w - w_0| over all convolution weights; zero if there are none."""
    w = _flat(list(convolutions(model)))
    return {"weight_norm": w.norm().item(), "weight_distance": (w - initial).norm().item()}


def flat_weights(model: nn.Module) -> Tensor:
    """Return a copy of all convolution weights as one vector."""
    return _flat(list(convolutions(model))).clone()


def with_ratios(row: dict[str, float], lr: float) -> dict[str, float]:
    """Add |g|/|w| and the relative step lr |g|/|w| of each group to a row of norms."""
    result = dict(row)
    for name, value in row.items():
        kind, _, group = name.partition("/")
        if kind == "gradient_norm":
            ratio = value / row["weight_norm"]
            result[f"gradient_over_weight/{group}"] = ratio
            result[f"relative_step/{group}"] = lr * ratio
    return result


def loss_along(
    model: Classifier, images: Images, spec: Mapping[str, Any], *, threat: dict[str, Any], seed: int
) -> dict[str, float]:
    """Return the model's mean cross-entropy at x + m delta, clipped to [0, 1], by attack and multiple m.

    delta is the perturbation that an attack makes of x on its own target, such as the network without its prompts; the
    loss is that of `model` itself. The names are `loss_along/ATTACK/m`.

    Args:
        model: the finished model.
        images: the first `images` of these are attacked.
        spec: `attacks` (specifications), `multiples` and `images`.
        threat: the bound of attacks without one of their own.
        seed: with the attack's name and the batch it determines every draw.
    """
    count, sums = min(spec["images"], len(images)), dict[str, float]()
    for attack in spec["attacks"]:
        for first in range(0, count, BATCH):
            x, y = images.take(slice(first, min(first + BATCH, count)))
            draws = generator(x.device, seed, "loss along", attack["name"], first)
            delta = _perturbation(model, x, y, attack, threat=attack.get("threat", threat), generator=draws)
            for multiple, loss in zip(spec["multiples"], _losses(model, x, y, delta, spec["multiples"]), strict=True):
                name = f"loss_along/{attack['name']}/{multiple:g}"
                sums[name] = sums.get(name, 0.0) + loss
    return {name: total / count for name, total in sums.items()}


def _perturbation(
    model: Classifier,
    x: Tensor,
    y: Tensor,
    attack: dict[str, Any],
    *,
    threat: dict[str, Any],
    generator: torch.Generator,
) -> Tensor:
    """Return what the attack adds to the images."""
    target = attack_target(attack, model)
    with attack_mode(target, x):
        x_adv = pgd(
            target,
            x,
            budget=Budget.of(threat, attack),
            objective=partial(OBJECTIVES[attack["objective"]], y=y),
            start=attack["start"],
            generator=generator,
        )
    return x_adv - x


@torch.no_grad()
def _losses(model: Classifier, x: Tensor, y: Tensor, delta: Tensor, multiples: Sequence[float]) -> list[float]:
    """Return the summed cross-entropy at each multiple of the perturbation."""
    with evaluating(model):
        moved = ((x + multiple * delta).clamp(0, 1) for multiple in multiples)
        return [F.cross_entropy(model(images), y, reduction="sum").item() for images in moved]
