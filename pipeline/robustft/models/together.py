"""Several batches of images in one pass: larger products, and half the calls."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from robustft.speed.optimizations import Optimizable, Optimizations


def together(model: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """Return the logits (n_i, K) of each batch of images (n_i, C, H, W).

    One pass computes all (optimization `one_pass`), unless it would give other numbers than a pass for each.
    """
    modules = list(model.modules())
    optimizations = next(
        (module.optimizations for module in modules if isinstance(module, Optimizable)), Optimizations()
    )
    if not optimizations.one_pass or any(_differs(module) for module in modules):
        return tuple(model(images) for images in batches)
    logits: Tensor = model(torch.cat(batches))
    return torch.split(logits, [len(images) for images in batches])


def _differs(module: nn.Module) -> bool:
    """Tell whether an image's part of the output depends on the other images, or on how many passes there were."""
    if isinstance(module, _NormBase) and module.training and module.track_running_stats:
        return True
    if isinstance(module, _BatchNorm):
        return module.training or module.running_mean is None
    if not module.training:
        return False
    chances = (getattr(module, name, 0) for name in ("p", "drop_prob"))  # of dropout, of stochastic depth
    return any(isinstance(chance, int | float) and chance > 0 for chance in chances)
