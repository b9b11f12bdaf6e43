"""Weight and gradient norms of the convolutions, for each group of loss terms.

For a convolution followed by batch statistics the loss does not change when the weight w is scaled, so its gradient
g is orthogonal to w and shrinks as 1/|w|; lr |g| / |w| is the relative step (the effective learning rate). With
frozen statistics neither holds. These are the quantities that the TWINS paper argues with.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robustft.methods.protocol import Loss
from robustft.parallel.sharded_batch import averaged


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
