"""Watching clean and robust accuracy while training."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from pipeline.attacks.objectives import OBJECTIVES
from pipeline.attacks.pgd import Budget, evaluating, pgd
from pipeline.train.batches import Images
from pipeline.train.randomness import generator


class Monitor:
    """Accuracy on the first `images` of each split, clean and under one attack, the model in evaluation mode.

    All splits go through the attack together: an image's outcome does not depend on its batch, and fewer, fuller
    batches take less time.
    """

    def __init__(self, spec: dict[str, Any], *, threat: dict[str, Any], splits: dict[str, Images], seed: int) -> None:
        self._attack, self._seed = spec["attack"], seed
        self._budget = Budget.of(threat, self._attack)
        self._counts = {name: min(spec["images"], len(images)) for name, images in splits.items()}
        taken = [images.take(slice(0, self._counts[name])) for name, images in splits.items()]
        self._x, self._y = (torch.cat(tensors) for tensors in zip(*taken, strict=True))

    def measure(self, model: nn.Module, *, batch_size: int = 512) -> dict[str, float]:
        """Return `clean_<split>` and `robust_<split>` in [0, 1] for each split."""
        clean, robust = [], []
        with evaluating(model):
            for start in range(0, len(self._y), batch_size):
                x, y = self._x[start : start + batch_size], self._y[start : start + batch_size]
                x_adv = pgd(
                    model,
                    x,
                    budget=self._budget,
                    objective=partial(OBJECTIVES[self._attack["objective"]], y=y),
                    start=self._attack["start"],
                    generator=generator(x.device, self._seed, "monitor", start),
                )
                with torch.no_grad():
                    clean.append(model(x).argmax(1) == y)
                    robust.append(model(x_adv).argmax(1) == y)
        found, first = {}, 0
        both = {"clean": torch.cat(clean), "robust": torch.cat(robust)}
        for split, count in self._counts.items():
            for kind, correct in both.items():
                found[f"{kind}_{split}"] = int(correct[first : first + count].sum()) / count
            first += count
        return found
