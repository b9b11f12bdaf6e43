"""In which order a loss passes clean and adversarial images through a network.

In training mode a batch norm normalises a pass by its own batch, and then moves its running statistics towards it. So
the order and the number of the passes change no logit and no gradient of the step. But they decide the running
statistics, by which the network is attacked in evaluation mode, and tested.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Pass = Literal["clean", "adversarial"]


def check_passes(passes: Sequence[str]) -> None:
    """Raise ValueError unless `passes` holds clean and adversarial ones, each at least once, and no others."""
    if set(passes) != {"clean", "adversarial"}:
        raise ValueError(f"passes must hold 'clean' and 'adversarial', and no other, not {list(passes)}")


def logits_by_pass(model: nn.Module, passes: Sequence[Pass], *, x: Tensor, x_adv: Tensor) -> dict[str, Tensor]:
    """Pass clean images x and adversarial images x_adv (n, C, H, W) in this order; return the logits of each by name.

    A repeated pass moves running statistics and does nothing else: the first pass has given its logits. (They would be
    others with dropout.) A network without running statistics is spared it.
    """
    images: dict[str, Tensor] = {"clean": x, "adversarial": x_adv}
    logits: dict[str, Tensor] = {}
    for name in passes:
        if name not in logits:
            logits[name] = model(images[name])
        elif moves_running_statistics(model):
            with torch.no_grad():
                model(images[name])
    return logits


def moves_running_statistics(model: nn.Module) -> bool:
    """Tell whether a pass changes running statistics of the model."""
    return any(
        isinstance(module, _BatchNorm) and module.training and module.track_running_stats for module in model.modules()
    )
