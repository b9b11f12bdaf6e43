"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


def build_optimizer(parameters: Iterable[nn.Parameter], recipe: dict[str, Any]) -> torch.optim.Optimizer:
    """Build the recipe's optimiser over the parameters that require a gradient; weight decay applies to all of them."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if recipe["optimizer"] == "sgd":
        return torch.optim.SGD(
            trained,
            lr=recipe["lr"],
            momentum=recipe["momentum"],
            nesterov=recipe["nesterov"],
            weight_decay=recipe["weight_decay"],
        )
    return torch.optim.AdamW(trained, lr=recipe["lr"], weight_decay=recipe["weight_decay"])


def learning_rate(recipe: dict[str, Any], *, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of one optimiser step, counted from 0; a pure function, so resuming needs no state.

    `steps`: lr x gamma for each milestone (in epochs) passed. `cosine`: from lr to 0 over all epochs. `constant`: lr.
    """
    epoch = step / steps_per_epoch
    if recipe["schedule"] == "steps":
        return float(recipe["lr"] * recipe["gamma"] ** bisect.bisect_right(sorted(recipe["milestones"]), epoch))
    if recipe["schedule"] == "cosine":
        return float(recipe["lr"] * (1 + math.cos(math.pi * epoch / recipe["epochs"])) / 2)
    return float(recipe["lr"])
