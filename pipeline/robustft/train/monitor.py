"""Clean and robust accuracy during training."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.objectives import OBJECTIVES
from robustft.attacks.pgd import Budget, pgd
from robustft.data.batches import Images
from robustft.methods.protocol import Method
from robustft.models.classifier import Classifier
from robustft.parallel.sharded_batch import sharded_attack
from robustft.runtime.randomness import generator


class Monitor:
    """Accuracy on the first `images` of each split, clean and under one attack, the model in evaluation mode.

    The model is the one used at test time (`at_test`); nothing of a step of training happens to it.

    For a self-supervised method the pretext task is drawn once and takes the place of the labels.

    All splits go through the attack together: an image's outcome does not depend on its batch, and fewer, fuller
    batches take less time.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        *,
        threat: dict[str, Any],
        splits: dict[str, Images],
        seed: int,
        method: Method | None = None,
    ) -> None:
        self._attack, self._seed = spec["attack"], seed
        self._budget = Budget.of(threat, self._attack)
        self._counts = {name: min(spec["images"], len(images)) for name, images in splits.items()}
        taken = [images.take(slice(0, self._counts[name])) for name, images in splits.items()]
        self._x, self._y = (torch.cat(tensors) for tensors in zip(*taken, strict=True))
        self._method = method
        if method is not None:
            draws = generator(self._x.device, seed, "monitored pretext")
            self._x, self._y = method.pretext(self._x, self._y, generator=draws)

    def _score(self, correct: Tensor) -> Tensor:
        return correct.double() if self._method is None else self._method.score(correct)

    def measure(self, model: Classifier, *, batch_size: int = 512) -> dict[str, float]:
        """Return `clean_<split>` and `robust_<split>` in [0, 1] for each split."""
        clean, robust = [], []
        with attack_mode(model, self._x):
            for start in range(0, len(self._y), batch_size):
                x, y = self._x[start : start + batch_size], self._y[start : start + batch_size]
                attack = partial(
                    pgd,
                    model,
                    x,
                    budget=self._budget,
                    objective=partial(OBJECTIVES[self._attack["objective"]], y=y),
                    start=self._attack["start"],
                    generator=generator(x.device, self._seed, "monitor", start),
                )
                x_adv = sharded_attack(attack, len(x))
                with torch.no_grad():
                    clean.append(self._score(model(x).argmax(1) == y))
                    robust.append(self._score(model(x_adv).argmax(1) == y))
        accuracies, first = {}, 0
        both = {"clean": torch.cat(clean), "robust": torch.cat(robust)}
        for split, count in self._counts.items():
            for kind, correct in both.items():
                accuracies[f"{kind}_{split}"] = float(correct[first : first + count].mean())
            first += count
        return accuracies
