"""Optimisers and learning-rate schedules."""

from __future__ import annotations

import bisect
import inspect
import math
from typing import Any

import torch
from torch import nn

from robustft.errors import ConfigError, nearest


def build_optimizer(model: nn.Module, recipe: dict[str, Any], *, fused: bool) -> torch.optim.Optimizer:
    """Build the recipe's optimiser over the parameters that require a gradient.

    Weight decay applies to all of them, but for those whose names begin with an entry of `no_weight_decay`. `fused` is
    one kernel for the whole update. A weight whose name begins with an entry of `lr_factors` has that many times the
    learning rate; its group says so under `lr_factor`.

    Raises ConfigError for an entry of `lr_factors` that no trained weight begins with.
    """
    trained: Any = _groups(model, recipe)
    if recipe["optimizer"] == "sgd":
        optimizer = _uncompiled(torch.optim.SGD)(
            trained,
            lr=recipe["lr"],
            momentum=recipe["momentum"],
            nesterov=recipe["nesterov"],
            weight_decay=recipe["weight_decay"],
            fused=fused,
        )
        if fused and recipe["momentum"]:
            # The kernel cannot start a momentum in a later step, as that of a defence which was not drawn before.
            # A momentum of zero starts as none does: with the gradient.
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer
    return _uncompiled(torch.optim.AdamW)(trained, lr=recipe["lr"], weight_decay=recipe["weight_decay"], fused=fused)


def _groups(model: nn.Module, recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the groups of parameters: by learning rate, and in each the decayed before the others."""
    factors: dict[str, float] = recipe.get("lr_factors", {})
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for part in factors:
        if not any(name.startswith(part) for name in named):
            parts = {name.split(".")[0] for name in named}
            raise ConfigError(f"lr_factors: no trained weight begins with '{part}'", next_step=nearest(part, parts))
    spared = tuple(recipe.get("no_weight_decay", ())) or "\0"
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): []}
    for name, parameter in named.items():
        factor = next((factors[part] for part in sorted(factors, reverse=True) if name.startswith(part)), 1.0)
        groups.setdefault((factor, not name.startswith(spared)), []).append(parameter)
    return [
        {
            "params": parameters,
            **({} if decayed else {"weight_decay": 0.0}),
            **({} if factor == 1.0 else {"lr_factor": factor}),
        }
        for (factor, decayed), parameters in groups.items()
        if parameters
    ]


def as_laid_out(optimizer: torch.optim.Optimizer) -> None:
    """Store what an optimiser remembers of each weight as the weight is stored.

    A fused kernel walks through memory: with other strides it would give each weight another one's momentum.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)


def _uncompiled(kind: type[torch.optim.Optimizer]) -> type[Any]:
    """Return an optimiser without what torch wraps around its methods for a compiler that would trace them.

    The wrappers import torch._dynamo, a second of every process, and change nothing else; nothing here compiles an
    optimiser. Where a release of torch wraps nothing, the methods are what they were.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    plain: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    plain["step"] = torch.no_grad()(inspect.unwrap(kind.step))  # the wrapper's one other effect
    return type(kind.__name__, (kind,), plain)


def learning_rate(recipe: dict[str, Any], *, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of one optimiser step, counted from 0; a pure function, so resuming needs no state.

    `steps`: lr x gamma for each milestone (in epochs) passed. `cosine`: from lr to `lr_end` (0) over the steps of the
    schedule. `cyclic`: linear from 0 to lr at epoch E // 2 of E and back to 0. `constant`: lr.

    `warmup_steps` steps rise linearly from `warmup_from` x lr before that, or with `warmup: first_epoch` in its place.

    | warm-up | step s of its W steps | steps of the schedule |
    | --- | --- | --- |
    | before_schedule (default) | reaches lr at its last step: (s + 1) / W of the way | those after the warm-up |
    | first_epoch | s / W of the way, then lr; cut off by the end of the epoch | all, counted from 0 |
    """
    lr, warmup = float(recipe["lr"]), recipe.get("warmup_steps", 0)
    first = recipe.get("warmup_from", 0.0)
    if recipe.get("warmup", "before_schedule") == "first_epoch":
        if warmup and step < steps_per_epoch:
            return lr * (first + (1 - first) * min(1.0, step / warmup))
        warmup = 0
    elif step < warmup:
        return lr * (first + (1 - first) * (step + 1) / warmup)
    epoch, epochs = step / steps_per_epoch, recipe["epochs"]
    if recipe["schedule"] == "steps":
        return float(lr * recipe["gamma"] ** bisect.bisect_right(sorted(recipe["milestones"]), epoch))
    if recipe["schedule"] == "cosine":
        done = (step - warmup) / max(1, epochs * steps_per_epoch - warmup)
        end = recipe.get("lr_end", 0.0)
        return end + (lr - end) * (1 + math.cos(math.pi * done)) / 2
    if recipe["schedule"] == "cyclic":
        peak = epochs // 2
        return lr * (epoch / peak if epoch < peak else (epochs - epoch) / (epochs - peak))
    return lr
