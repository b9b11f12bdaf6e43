"""Grids: an experiment with `grid` trains each of its methods at each point, and measures them on validation images.

    grid: {recipe.lr: [0.01, 0.1], parameters.beta: [1, 6]}
    select: {attack: pgd10, split: validation}

Each point is a method of its own, `METHOD_gN`. The experiment has no other evaluation than the one that selects, so no
point is ever measured on test images; `robustft choose` names the best one.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from robustft.config.tree import mapping
from robustft.errors import ConfigError, nearest

VARIED = ("recipe", "parameters", "tuning.parameters", "threat")
"""The parts of a method that a grid varies."""


def expand_grids(values: dict[str, Any], where: Path) -> None:
    """Replace the methods of each experiment with a grid by its points, in the values of a paper.

    Raises ConfigError for a key that no grid varies, an empty list, and a selection on anything but validation images.
    """
    for name, experiment in mapping(values.get("experiments", {}), "experiments", where).items():
        if not isinstance(experiment, dict) or "grid" not in experiment:
            continue
        grid = mapping(experiment.pop("grid"), f"experiments.{name}.grid", where)
        select = mapping(experiment.pop("select", None), f"experiments.{name}.select", where)
        _check(name, grid, select, where)
        methods = mapping(values.setdefault("methods", {}), "methods", where)
        points = [
            (f"{method}_g{number}", method, dict(zip(grid, point, strict=True)))
            for method in experiment.get("methods", [])
            for number, point in enumerate(itertools.product(*grid.values()), start=1)
        ]
        methods |= {point: _method(method, settings) for point, method, settings in points}
        evaluation = f"{name}_select"
        experiment |= {
            "methods": [point for point, _, _ in points],
            "title": experiment.get("title", f"Grid of {', '.join(experiment.get('methods', []))}"),
            "evaluations": {
                evaluation: {"attacks": [select["attack"]], "split": "validation", "shard_images": 256, "parts": 1}
            },
        }
        experiment.pop("control", None)


def _check(name: str, grid: dict[str, Any], select: dict[str, Any], where: Path) -> None:
    for key, points in grid.items():
        part = key.rpartition(".")[0]
        if part not in VARIED:
            options = [f"{one}.{key.rpartition('.')[2]}" for one in VARIED]
            raise ConfigError(f"experiments.{name}.grid: no grid varies '{key}'", where=where,
                              next_step=nearest(key, options))  # fmt: skip
        if not isinstance(points, list) or not points:
            raise ConfigError(f"experiments.{name}.grid.{key}: this is no list of values", where=where)
    if select.get("split") != "validation" or "attack" not in select or len(select) > 2:
        raise ConfigError(
            f"experiments.{name}.select: a point is chosen under one attack on validation images",
            where=where,
            expected="select: {attack: pgd10, split: validation}",
            observed=select,
        )


def _method(method: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of one point."""
    entry: dict[str, Any] = {"extends": method}
    for key, value in settings.items():
        *parts, last = key.split(".")
        inner = entry
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    entry["title"] = f"{method}, " + ", ".join(f"{key.split('.')[-1]} {value}" for key, value in settings.items())
    return entry
