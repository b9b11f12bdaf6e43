"""AutoAttack (Croce and Hein, ICML 2020), one (attack, shard) at a time, through pyautoattack's own attack classes.

The package's driver runs its attacks one after another on the images that are still robust. This does the same for
one shard, in pieces that can be stored between attacks: for one shard, one seed and a batch size of at least the
shard, the outcome of each image equals the driver's. (The driver's own state file cannot be read back.)

With `settled_images` nothing is computed for an image whose outcome is known, and rows that the package looks up one
batch after another share one (`autoattack_gradient`, `square`). Whether an image is broken, and by which attack,
stays as it is; the adversarial point, with its distance and predicted class, is then the first that was found, where
the driver returns a later or a nearer one.
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
SQUARE_QUERIES = 5000
_NORMS = {"linf": "Linf", "l2": "L2"}

ROOM = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Numbers in a batch of images up to which a batch of several queries or targets is cheaper than several batches.

256 grey images of 8 x 8 pixels or 5 of CIFAR; measured with small residual networks on one core.
"""

ROOM_OF_FAB = {"cpu": 1 << 17, "cuda": 1 << 20}
"""The same for FAB, where hardly a row is wasted: it draws nothing, so a break closes the rows of its own image alone.

42 images of CIFAR, of which a row of a small residual network takes a fifth less time than of 11.
"""


def attacks_for(classes: int) -> tuple[str, ...]:
    """Return the ensemble's attacks on so many classes: below four without APGD-T, whose loss compares four logits.

    The official driver stops there; a data set of two classes (PCAM) still deserves the other three.
    """
    return STANDARD if classes >= 4 else tuple(name for name in STANDARD if name != "apgd-t")


def targeted_classes(classes: int) -> int:
    """Return how many target classes the targeted attacks try: 9 in the standard ensemble, fewer if there are fewer."""
    return min(9, classes - 1)


@dataclass
class ShardOutcome:
    """For each image of a shard (n): prediction, norm of the perturbation, and which attack broke it ("" if none)."""

    prediction: Tensor
    distance: Tensor
    broken_by: list[str]
    attacks_done: int = 0

    def robust(self, y: Tensor) -> Tensor:
        """Return which images are still classified correctly, (n,) bool."""
        return self.prediction == y


class AutoAttackShard:
    """The standard ensemble on one shard of images.

    Args:
        model: images (n, C, H, W) in [0, 1] -> logits (n, K); in evaluation mode.
        threat: the threat model.
        classes: K. With fewer than 10 classes the targeted attacks use the K-1 targets that exist, as the package
            advises; with fewer than 4 one attack is left out (see `attacks_for`).
        seed: given to each attack, as the driver does.
        square_queries: of the black-box attack; the standard ensemble has 5000, and fewer is another, weaker one.
        settled_images: leave out work whose outcome is known; off, each attack runs as the package runs it.
        inspect: called with (adversarial images, clean images, predictions) of what each attack broke.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        threat: ThreatModel,
        classes: int,
        seed: int,
        device: torch.device,
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
        """Return the outcome before any attack."""
        with torch.no_grad():
            prediction = self._model(x).argmax(1)
        return ShardOutcome(prediction, torch.zeros(len(x), device=x.device), [""] * len(x))

    def run(
        self, x: Tensor, y: Tensor, outcome: ShardOutcome, *, after: Callable[[ShardOutcome], None] = lambda _: None
    ) -> ShardOutcome:
        """Run the attacks that `outcome` has not seen yet, calling `after` when each is done; return the outcome."""
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
                x_adv = self._perturbed(name, x[left].contiguous(), y[left])
            # An attack returns what it has not broken as it was, and that is classified correctly.
            tried = (x_adv != x[left]).flatten(1).any(1) if self._settled_images else torch.ones_like(left).bool()
            if not tried.any():
                return
            x_adv, left = x_adv[tried], left[tried]
            prediction = self._model(x_adv).argmax(1)  # by the model itself: under attack it may have been folded
        broken = prediction != y[left]
        where = left[broken]
        outcome.prediction[where] = prediction[broken]
        outcome.distance[where] = self._threat.distance(x_adv[broken], x[where])
        for index in where.tolist():
            outcome.broken_by[index] = name
        if len(where):
            self._inspect(x_adv[broken], x[where], prediction[broken])

    def _perturbed(self, name: str, x: Tensor, y: Tensor) -> Tensor:
        """Return one attack's images (n, C, H, W) for correctly classified ones; what it does not break as it was."""
        attack = self._attacks[name]
        attack.seed = self._seed
        if not self._settled_images:
            return attack.perturb(x.clone(), y.clone())  # type: ignore[no-any-return]
        room, wider = (numbers.get(x.device.type, numbers["cuda"]) // x[0].numel() for numbers in (ROOM, ROOM_OF_FAB))
        clean = self._network(x)
        # As the package: two logits that tie up to rounding may be the other way round in the network under attack.
        right = (clean.max(1)[1] == y).nonzero().squeeze(1)
        runs: dict[str, Callable[..., Tensor]] = {
            "apgd-ce": partial(apgd, network=self._network),
            "apgd-t": partial(targeted_apgd, network=self._network, clean=clean[right], room=room),
            "fab-t": partial(targeted_fab, network=self._network, clean=clean[right], room=wider),
            "square": partial(square, room=room),
        }
        x_adv = x.clone()
        if len(right):
            x_adv[right] = runs[name](attack, x=x[right], y=y[right])
        return x_adv
