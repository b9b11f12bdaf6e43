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
    """Accuracy on the first `images` of each split, clean and under one attack, the model in evaluation mode."""

    def __init__(self, spec: dict[str, Any], *, threat: dict[str, Any], splits: dict[str, Images], seed: int) -> None:
        self._attack, self._splits, self._seed = spec["attack"], splits, seed
        self._budget = Budget.of(threat, self._attack)
        self._images = spec["images"]

    def measure(self, model: nn.Module, *, batch_size: int = 500) -> dict[str, float]:
        """Return `clean_<split>` and `robust_<split>` in [0, 1] for each split."""
        found = {}
        with evaluating(model):
            for split, images in self._splits.items():
                count = min(self._images, len(images))
                clean = robust = 0
                for start in range(0, count, batch_size):
                    x, y = images.take(slice(start, min(start + batch_size, count)))
                    x_adv = pgd(
                        model,
                        x,
                        budget=self._budget,
                        objective=partial(OBJECTIVES[self._attack["objective"]], y=y),
                        start=self._attack["start"],
                        generator=generator(x.device, self._seed, "monitor", split, start),
                    )
                    with torch.no_grad():
                        clean += int((model(x).argmax(1) == y).sum())
                        robust += int((model(x_adv).argmax(1) == y).sum())
                found[f"clean_{split}"], found[f"robust_{split}"] = clean / count, robust / count
        return found
