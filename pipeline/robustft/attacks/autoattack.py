"""AutoAttack (Croce and Hein, ICML 2020), one (attack, shard) at a time, through pyautoattack's own attack classes.

No library does this: the state file of the package's driver cannot be read back, so a killed run starts again.

The driver runs its attacks one after another on the images that are still robust. This module does the same for one
shard, whose outcome can be stored after each attack. For one shard, one seed and a batch of at least the shard, the
outcome of each image is the driver's.

With `settled_images` nothing is computed for an image whose outcome is known, and batches that the package computes
one after another become one (`speed/settled_images.py`, `speed/square_windows.py`). The same images are broken by the
same attacks. The adversarial point, its distance and its predicted class are those of the first point that breaks an
image; the driver returns a later or a nearer one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError
from robustft.speed.settled_images import OpenRows, apgd, targeted_apgd, targeted_fab
from robustft.speed.square_windows import square

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
ITERATIONS = 100
"""Of each attack of the standard ensemble that uses gradients."""

SQUARE_QUERIES = 5000
_NORMS = {"linf": "Linf", "l2": "L2"}

ROOM = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Values in a batch of images up to which one batch of several queries or targets is cheaper than several batches.

256 grey images of 8 x 8 pixels or 5 of CIFAR; measured with small residual networks on one core.
"""

ROOM_OF_FAB = {"cpu": 1 << 17, "cuda": 1 << 20}
"""The same for FAB, which wastes hardly a row: it draws nothing, so a break closes the rows of its own image alone.

42 images of CIFAR: a small residual network takes a fifth less time for each than in a batch of 11.
"""


def attacks_for(classes: int) -> tuple[str, ...]:
    """Return the ensemble's attacks by the number of classes: APGD-T needs four, as its loss compares four logits.

    The package's driver stops with an error there; a data set of two classes (PCAM) is attacked by the other three.
    """
    return STANDARD if classes >= 4 else tuple(name for name in STANDARD if name != "apgd-t")


def targeted_classes(classes: int) -> int:
    """Return the number of target classes of the targeted attacks: 9 in the standard ensemble, at most classes - 1."""
    return min(9, classes - 1)


@dataclass
class ShardOutcome:
    """For each image of a shard: prediction (n,), distance (n,) in the threat's norm, and the attack that broke it."""

    prediction: Tensor
    distance: Tensor
    broken_by: list[str]
    """An empty string for an image that no attack broke."""
    attacks_done: int = 0

    def robust(self, y: Tensor) -> Tensor:
        """Return which images are classified correctly as y (n,), (n,) bool."""
        return self.prediction == y


class AutoAttackShard:
    """The standard ensemble on one shard of images.

    Args:
        model: images (n, C, H, W) in [0, 1] -> logits (n, K); in evaluation mode.
        threat: the threat model, in Linf or L2.
        classes: K. Below 10 the targeted attacks have K - 1 targets, as the package advises; below 4 one attack is
            left out (see `attacks_for`).
        seed: of each attack, as in the driver.
        device: of the images and the model.
        iterations: of each of the three attacks that use gradients; the standard ensemble has 100, and fewer make a
            weaker one.
        square_queries: of the black-box attack; the standard ensemble has 5000, and fewer make a weaker one.
        settled_images: leave out work whose outcome is known; if off, each attack runs as in the package.
        inspect: called with (adversarial images, clean images, predictions) of the images that an attack breaks.

    Raises:
        ConfigError: the installed package has another standard ensemble.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        threat: ThreatModel,
        classes: int,
        seed: int,
        device: torch.device,
        iterations: int = ITERATIONS,
        square_queries: int = SQUARE_QUERIES,
        settled_images: bool = True,
        inspect: Callable[[Tensor, Tensor, Tensor], None] = lambda *_: None,
    ) -> None:
        from pyautoattack import AutoAttack  # the import takes a third of a second; only this attack needs it

        self._chosen = attacks_for(classes)
        self._model, self._threat, self._seed, self._inspect = model, threat, seed, inspect
        self._settled_images = settled_images
        self._network = OpenRows(model, numbers=ROOM.get(device.type, ROOM["cuda"]))
        driver = AutoAttack(
            self._network if settled_images else model,
            norm=_NORMS[threat.norm],
            eps=float(threat.eps),
            seed=seed,
            version="standard",
            device=str(device),
        )
        restarts = {driver.apgd.n_restarts, driver.apgd_targeted.n_restarts, driver.square.n_restarts}
        if tuple(driver.attacks_to_run) != STANDARD or restarts != {1}:
            raise ConfigError(
                "this pyautoattack has another standard ensemble",
                expected=f"{STANDARD}, one start of each",
                observed=f"{driver.attacks_to_run}, restarts {restarts}",
            )
        self.targets = targeted_classes(classes)
        driver.apgd_targeted.n_target_classes = driver.fab.n_target_classes = self.targets
        driver.apgd.n_iter = driver.apgd_targeted.n_iter = driver.fab.n_iter = iterations
        driver.square.n_queries = square_queries
        driver.apgd.loss = "ce"
        driver.fab.targeted, driver.fab.n_restarts = True, 1
        self._attacks: dict[str, Any] = {
            "apgd-ce": driver.apgd,
            "apgd-t": driver.apgd_targeted,
            "fab-t": driver.fab,
            "square": driver.square,
        }

    def clean(self, x: Tensor) -> ShardOutcome:
        """Return the outcome of images x (n, C, H, W) before any attack."""
        with torch.no_grad():
            prediction = self._model(x).argmax(1)
        return ShardOutcome(prediction, torch.zeros(len(x), device=x.device), [""] * len(x))

    def run(
        self, x: Tensor, y: Tensor, outcome: ShardOutcome, *, after: Callable[[ShardOutcome], None] = lambda _: None
    ) -> ShardOutcome:
        """Run the attacks that `outcome` lacks on images x (n, C, H, W) with labels y (n,); return the outcome.

        `after` is called after each attack, to store it.
        """
        for number, name in enumerate(STANDARD):
            if number < outcome.attacks_done:
                continue
            left = outcome.robust(y).nonzero().squeeze(1)
            if len(left) and name in self._chosen:
                self._attack(name, x, y, left, outcome)
            outcome.attacks_done = number + 1
            after(outcome)
        return outcome

    def _attack(self, name: str, x: Tensor, y: Tensor, left: Tensor, outcome: ShardOutcome) -> None:
        with torch.no_grad():
            with attack_mode(self._model, x[left]):
                # The package views images as rows of numbers, which channels_last ones are not.
                x_adv = self._adversarial(name, x[left].contiguous(), y[left])
            # An attack returns an unbroken image unchanged, and that is classified correctly.
            tried = (x_adv != x[left]).flatten(1).any(1) if self._settled_images else torch.ones_like(left).bool()
            if not tried.any():
                return
            x_adv, left = x_adv[tried], left[tried]
            prediction = self._model(x_adv).argmax(1)  # outside of attack_mode, which may fold the model
        broken = prediction != y[left]
        where = left[broken]
        outcome.prediction[where] = prediction[broken]
        outcome.distance[where] = self._threat.distance(x_adv[broken], x[where])
        for index in where.tolist():
            outcome.broken_by[index] = name
        if len(where):
            self._inspect(x_adv[broken], x[where], prediction[broken])

    def _adversarial(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """Return one attack's images (n, C, H, W) for correctly classified ones; unbroken images are unchanged."""
        attack = self._attacks[name]
        attack.seed = self._seed
        if not self._settled_images:
            return attack.perturb(x.clone(), y.clone())  # type: ignore[no-any-return]
        room, room_of_fab = (
            numbers.get(x.device.type, numbers["cuda"]) // x[0].numel() for numbers in (ROOM, ROOM_OF_FAB)
        )
        clean = self._network(x)
        # As in the package: of two logits that are equal up to rounding, another may be larger in the attacked network.
        right = (clean.max(1)[1] == y).nonzero().squeeze(1)
        runs: dict[str, Callable[..., Tensor]] = {
            "apgd-ce": partial(apgd, network=self._network),
            "apgd-t": partial(targeted_apgd, network=self._network, clean=clean[right], room=room),
            "fab-t": partial(targeted_fab, network=self._network, clean=clean[right], room=room_of_fab),
            "square": partial(square, room=room),
        }
        x_adv = x.clone()
        if len(right):
            x_adv[right] = runs[name](attack, x=x[right], y=y[right])
        return x_adv
