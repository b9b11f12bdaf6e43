"""AutoAttack's APGD and FAB through pyautoattack's own runs, without work for images whose outcome is known.

No library does this: a run of pyautoattack takes every image through all iterations, one target class after another.
Here

- the network computes only the open rows of a run's batch. An image's first adversarial point breaks it and is kept.
  The package's iterations go on for all rows, which are independent, until the last row is settled; a settled row has
  its last logits and no gradient;
- several targets share one run with a row for each image and target, as many as `room` allows: on small networks calls
  cost more than rows;
- clean images are classified once for each attack, not twice or three times for each target.

The broken images are those of the package, up to the rounding of batches of other sizes. The adversarial point is the
first one, where APGD keeps the last and FAB the nearest.

Source: Croce, Hein. Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks.
ICML 2020. Croce, Hein. Minimally distorted adversarial examples with a fast adaptive boundary attack. ICML 2020.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from robustft.speed.hyperplane import projection_linf

SIZES = 32
"""How many sizes a small batch may have: it is filled up to the next one."""


class SettledError(Exception):
    """All rows are settled: the rest of the run changes no outcome. It never leaves this module."""


@dataclass
class Run:
    """The state of one run of an attack: t targets for each of n images, in rows ordered by target.

    Args:
        x: clean images, (n, C, H, W) in [0, 1].
        y: their labels, (n,).
        targets: t.
        counts: maps rows and clean rows, both (t n, C, H, W), to whether a misclassified row is settled, (t n,) bool.
        closes: maps the broken pairs, (t, n) bool, to the pairs that need no more work, (t, n) bool.
        clean: logits of the clean images, (n, K), if they are known.
    """

    x: Tensor
    y: Tensor
    targets: int
    counts: Callable[[Tensor, Tensor], Tensor]
    closes: Callable[[Tensor], Tensor]
    clean: Tensor | None = None
    broken: Tensor = field(init=False)
    open: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.broken = torch.zeros(self.targets, len(self.x), dtype=torch.bool, device=self.x.device)
        self.open = ~self.broken
        self.x_rows, self.y_rows = self.x.repeat(self.targets, 1, 1, 1), self.y.repeat(self.targets)
        self.points = self.x_rows.clone()
        self.logits = None if self.clean is None else self.clean.repeat(self.targets, 1)

    def note(self, x: Tensor, logits: Tensor) -> None:
        """Keep the rows of x (t n, C, H, W) that its logits (t n, K) show to be broken.

        Raises:
            SettledError: no row is open any more.
        """
        self.logits = logits
        wrong = (logits.max(1)[1] != self.y_rows) & self.open.flatten() & self.counts(x, self.x_rows)
        if wrong.any():
            self.points[wrong] = x[wrong]
            self.broken |= wrong.view_as(self.broken)
            self.open &= ~(self.broken | self.closes(self.broken))
            if not self.open.any():
                raise SettledError

    def adversarial(self, broken: Tensor) -> Tensor:
        """Return each image's point of the first target in `broken` (t, n), else the image itself, (n, C, H, W)."""
        first = broken.int().argmax(0)
        points = self.points.view(self.targets, *self.x.shape)[first, torch.arange(len(self.x))]
        return torch.where(broken.any(0).view(-1, *[1] * (self.x.dim() - 1)), points, self.x)


class OpenRows(nn.Module):
    """The attacked network, images (n, C, H, W) -> logits (n, K); during a run it computes only the open rows.

    Args:
        model: the network.
        numbers: values in a batch of images up to which several small batches cost more than one of all their rows.
    """

    def __init__(self, model: nn.Module, *, numbers: int) -> None:
        super().__init__()
        self.model, self._numbers = model, numbers
        self._run: Run | None = None

    def room(self, x: Tensor) -> int:
        """Return how many images of the size of x (n, C, H, W) make such a batch."""
        return self._numbers // x[0].numel()

    @contextlib.contextmanager
    def during(self, run: Run) -> Iterator[None]:
        """Serve the run until it ends or all of its rows are settled."""
        self._run = run
        try:
            with contextlib.suppress(SettledError):
                yield
        finally:
            self._run = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, K) of x; a settled row of a run has its last ones.

        Raises:
            SettledError: all rows of the run are settled.
        """
        run = self._run
        if run is None:
            return self._logits(x)
        if run.clean is not None and not torch.is_grad_enabled() and torch.equal(x, run.x_rows):
            return run.clean.repeat(run.targets, 1)
        if run.logits is None or run.open.all():
            logits: Tensor = self.model(x)
        else:
            rows = run.open.flatten().nonzero().squeeze(1)
            logits = run.logits.index_copy(0, rows, self._logits(x[rows]))
        run.note(x.detach(), logits.detach())
        return logits

    def _logits(self, x: Tensor) -> Tensor:
        """Return the model's logits; a small batch is filled up to one of few sizes.

        A convolution builds its kernels anew for each size of a batch, which takes longer than a few more rows.
        """
        grain = self.room(x) // SIZES
        if grain < 2 or len(x) < grain:
            return self.model(x)  # type: ignore[no-any-return]
        extra = x[:1].expand(-len(x) % grain, *x.shape[1:])
        return self.model(torch.cat([x, extra]))[: len(x)]  # type: ignore[no-any-return]


def apgd(attack: Any, network: OpenRows, x: Tensor, y: Tensor) -> Tensor:
    """Run the package's APGD-CE on correctly classified images; return adversarial images, unbroken ones as they are.

    Args:
        attack: `APGDAttack` on `network`, with its seed.
        network: the attacked network.
        x: images (n, C, H, W) in [0, 1].
        y: labels (n,).
    """
    attack.init_hyperparam(x)
    torch.manual_seed(attack.seed)
    run = Run(x, y, 1, counts=_always, closes=torch.clone)
    with network.during(run):
        attack.attack_single_run(x, y)
    return run.adversarial(run.broken)


def targeted_apgd(attack: Any, network: OpenRows, x: Tensor, y: Tensor, *, clean: Tensor, room: int) -> Tensor:
    """Run the package's APGD-T, several targets at a time; otherwise as `apgd`.

    Random starts are drawn target by target for the images that are left. After a target breaks an image, the package
    draws the later ones otherwise: their rows are dropped and drawn again in the next run.

    Args:
        attack: `APGDAttack_targeted` on `network`, with its seed.
        network: the attacked network.
        x: images (n, C, H, W) in [0, 1].
        y: labels (n,).
        clean: logits of the images, (n, K), correct ones.
        room: the most rows of a batch; below twice the images it is one target at a time.
    """
    attack.init_hyperparam(x)
    torch.manual_seed(attack.seed)
    ranks = _ranked(clean, attack.n_target_classes)
    x_adv, left, done = x.clone(), torch.arange(len(x), device=x.device), 0
    while done < len(ranks) and len(left):
        targets = ranks[done : done + max(1, room // len(left)), left]
        starts, states = [], []
        for _ in targets:
            starts.append(_start(attack, x[left]))
            states.append(torch.get_rng_state())
        run = Run(x[left], y[left], len(targets), counts=_always, closes=_later_targets, clean=clean[left])
        attack.y_target = targets.flatten()
        with network.during(run):
            attack.attack_single_run(run.x_rows, run.y_rows, x_init=torch.cat(starts))
        valid = run.broken & ~_later_targets(run.broken)
        x_adv[left] = run.adversarial(valid)
        tried = int(valid.any(1).int().argmax()) + 1 if valid.any() else len(targets)
        torch.set_rng_state(states[tried - 1])
        left, done = left[~valid.any(0)], done + tried
    return x_adv


def targeted_fab(attack: Any, network: OpenRows, x: Tensor, y: Tensor, *, clean: Tensor, room: int) -> Tensor:
    """Run the package's targeted FAB, several targets at a time; otherwise as `targeted_apgd`.

    It draws nothing. FAB looks for the nearest adversarial point. Here the first one within eps breaks the image: then
    the nearest one is within eps, too.
    """
    ranks = _ranked(clean, attack.n_target_classes)

    def within_eps(x_adv: Tensor, rows: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # FAB takes a gradient here: the point is no candidate
            return torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
        delta = (x_adv - rows).flatten(1)
        distance = delta.abs().amax(1) if attack.norm == "Linf" else (delta**2).sum(-1).sqrt()
        return distance <= attack.eps

    x_adv, left, done, attack.target_class = x.clone(), torch.arange(len(x), device=x.device), 0, 2
    while done < len(ranks) and len(left):
        targets = ranks[done : done + max(1, room // len(left)), left]
        run = Run(x[left], y[left], len(targets), counts=within_eps, closes=_other_targets, clean=clean[left])
        attack.get_diff_logits_grads_batch_targeted = _differences(network, targets.flatten())
        with network.during(run), _projecting():
            attack.attack_single_run(run.x_rows, run.y_rows, is_targeted=True)
        x_adv[left] = run.adversarial(run.broken)
        left, done = left[~run.broken.any(0)], done + len(targets)
    return x_adv


def _ranked(clean: Tensor, targets: int) -> Tensor:
    """Return the target classes (targets, n) by clean logits (n, K), the likeliest wrong class first."""
    return clean.sort(dim=1)[1].flip(1)[:, 1 : targets + 1].T


def _start(attack: Any, x: Tensor) -> Tensor:
    """Draw APGD's random start as the package does: on the sphere of radius eps."""
    drawn = 2 * torch.rand(x.shape) - 1 if attack.norm == "Linf" else torch.randn(x.shape)
    return x + attack.eps * attack.normalize(drawn.to(x.device))  # type: ignore[no-any-return]


def _differences(network: OpenRows, targets: Tensor) -> Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return FAB's linearisation towards a target for each row; FAB itself has one rank for all rows.

    It maps images (r, C, H, W) and labels (r,) to the target's logit minus the label's, (r, 1), and its gradient,
    (r, 1, C, H, W). The package's `backward` computes the gradients of the weights, too.
    """

    def differences(x: Tensor, y: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = network(x)
            rows = torch.arange(len(x), device=x.device)
            difference = logits[rows, targets] - logits[rows, y]
            (gradient,) = torch.autograd.grad(difference.sum(), x)
        return difference.detach().unsqueeze(1), gradient.unsqueeze(1)

    return differences


@contextlib.contextmanager
def _projecting() -> Iterator[None]:
    """Let the package's FAB project without its sort: a third of its time on a network of a millisecond an image."""
    from pyautoattack import fab_base

    original, fab_base.projection_linf = fab_base.projection_linf, projection_linf
    try:
        yield
    finally:
        fab_base.projection_linf = original


def _always(x: Tensor, _: Tensor) -> Tensor:
    """Let every iterate settle its row: APGD never leaves the threat model."""
    return torch.ones(len(x), dtype=torch.bool, device=x.device)


def _other_targets(broken: Tensor) -> Tensor:
    """Close all rows of a broken image."""
    return broken.any(0).expand_as(broken)


def _later_targets(broken: Tensor) -> Tensor:
    """Close all rows of the targets after the first that breaks an image: another run draws their random starts."""
    breaks = broken.any(1).int()
    return (breaks.cumsum(0) - breaks > 0).unsqueeze(1).expand_as(broken)
