"""Attacks on any `torch.nn.Module` from images (n, C, H, W) in [0, 1] to logits (n, K)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from robustft.attacks.autoattack import STANDARD, AutoAttackShard, ShardOutcome
from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.objectives import OBJECTIVES
from robustft.attacks.pgd import Budget, evaluating
from robustft.attacks.pgd import pgd as projected_ascent
from robustft.attacks.threat import NORMS, ThreatModel
from robustft.errors import RobustftError, nearest
from robustft.speed.optimizations import Optimizable, Optimizations

Number = str | int | float | Fraction

SIMPLE = 1000
"""Up to this denominator a float means the fraction that it is nearest to: 8 / 255 is eight 255ths."""


def threat(norm: Literal["linf", "l2", "l1"], eps: Number) -> ThreatModel:
    """Return the threat model of all x' in [0, 1] with ||x' - x|| <= eps.

    `eps` is in units of the pixel range [0, 1] and is kept as an exact fraction. Raises RobustftError for another norm,
    or for an eps that is no number or is negative.

    Examples:
        >>> import robustft
        >>> robustft.threat("linf", "8/255")
        ThreatModel(norm='linf', eps=Fraction(8, 255))
        >>> robustft.threat("linf", 8 / 255) == robustft.threat("linf", "8/255")
        True
    """
    if norm not in NORMS:
        raise RobustftError(f"unknown norm '{norm}'", next_step=nearest(str(norm), NORMS))
    size = _exact(eps, "eps")
    if size < 0:
        raise RobustftError("eps must not be negative", observed=eps)
    return ThreatModel(norm, size)


def pgd(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    steps: int = 20,
    step_size: Number | None = None,
    objective: Literal["cross_entropy", "margin"] = "cross_entropy",
    seed: int = 0,
) -> Tensor:
    """Return adversarial images (n, C, H, W): the last iterate of projected gradient descent (Madry et al., ICLR 2018).

    It starts at a uniformly random point of the threat model, drawn from `seed` alone. The model is attacked in
    evaluation mode; afterwards its modes, `requires_grad` and gradients are as before. A model in training mode is
    named in a warning.

    Args:
        model: images (n, C, H, W) in [0, 1] -> logits (n, K). A normalisation belongs inside it.
        x: images (n, C, H, W) in [0, 1], on the model's device.
        y: labels (n,), whole numbers from 0 to K - 1.
        threat: which images are allowed (see `threat`).
        steps: gradient steps, at least one.
        step_size: of one step, in pixel units like eps; eps / 4 unless given.
        objective: what is increased: "cross_entropy", or "margin" (Carlini and Wagner, S&P 2017).
        seed: of the random start.

    Raises RobustftError if an argument does not fit, images outside [0, 1] among them.

    Examples:
        >>> import robustft, torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5)).eval()
        >>> x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
        >>> x_adv = robustft.pgd(model, x, y, threat=robustft.threat("linf", "8/255"), steps=10)
        >>> bool((x_adv - x).abs().max() <= 8 / 255 + 1e-6)
        True
    """
    if objective not in OBJECTIVES:
        raise RobustftError(f"unknown objective '{objective}'", next_step=nearest(str(objective), OBJECTIVES))
    if steps < 1:
        raise RobustftError("an attack needs at least one step", observed=steps)
    share = Fraction(1, 4) if step_size is None or not threat.eps else _exact(step_size, "step_size") / threat.eps
    if share <= 0:
        raise RobustftError("step_size must be positive", observed=step_size)
    with _attacked(model, x, y) as seen:
        _classes(seen, x, y)
        with attack_mode(seen, x):
            return projected_ascent(
                seen,
                x,
                budget=Budget(threat, steps, share),
                objective=partial(OBJECTIVES[objective], y=y),
                start="uniform",
                generator=torch.Generator(x.device).manual_seed(seed),
            )


def autoattack(
    model: nn.Module, x: Tensor, y: Tensor, *, threat: ThreatModel, batch_size: int = 256, seed: int = 0
) -> Tensor:
    """Return adversarial images of the standard AutoAttack (Croce and Hein, ICML 2020), (n, C, H, W).

    Images that no attack breaks, and those that are misclassified already, come back as they were. So the robust
    accuracy is that of the model on the result. Which images are broken is what the package's own driver finds, batch
    by batch. With fewer than four classes APGD-T is left out: its loss compares four logits.

    Args:
        model: images (n, C, H, W) in [0, 1] -> logits (n, K), K at least 2. A normalisation belongs inside it.
        x: images (n, C, H, W) in [0, 1], on the model's device.
        y: labels (n,), whole numbers from 0 to K - 1.
        threat: linf or l2 (see `threat`).
        batch_size: images that are attacked at a time.
        seed: of each attack's random draws. Torch's global generator is as before afterwards.

    The model stays as `pgd` leaves it, and errors are the same. Both attack by gradients: a model that hides them
    (random layers, quantisation) looks more robust than it is.

    Examples:
        >>> import robustft, torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5)).eval()
        >>> x, y = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 3])
        >>> x_adv = robustft.autoattack(model, x, y, threat=robustft.threat("linf", "8/255"))
        >>> robust_accuracy = (model(x_adv).argmax(1) == y).float().mean().item()
    """
    if threat.norm == "l1":
        raise RobustftError("AutoAttack is run for linf and l2 here", observed=threat, next_step="use pgd for l1")
    if batch_size < 1:
        raise RobustftError("batch_size must be at least 1", observed=batch_size)
    with _attacked(model, x, y) as seen, torch.random.fork_rng([x.device] if x.is_cuda else []):
        shard = partial(AutoAttackShard, seen, threat=threat, classes=_classes(seen, x, y), seed=seed, device=x.device)
        batches = zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True)
        return torch.cat([_broken(shard, images, labels) for images, labels in batches])


def _broken(shard: partial[AutoAttackShard], x: Tensor, y: Tensor) -> Tensor:
    """Return the images (n, C, H, W) of one batch, those that an attack breaks replaced by what breaks them."""
    x_adv = x.clone()
    breaking: list[Tensor] = []

    def after(outcome: ShardOutcome) -> None:
        """Put the images of the attack that has just ended in their places: it reports them in the batch's order."""
        if breaking:
            attack = STANDARD[outcome.attacks_done - 1]
            x_adv[[place for place, name in enumerate(outcome.broken_by) if name == attack]] = breaking.pop()

    ensemble = shard(inspect=lambda images, clean, prediction: breaking.append(images))
    ensemble.run(x, y, ensemble.clean(x), after=after)
    return x_adv


class _Plain(Optimizable):
    """A model of the user's as it is: nothing of it is rewritten while it is attacked."""

    optimizations = Optimizations(folded_batch_norm=False)

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return logits


@contextlib.contextmanager
def _attacked(model: nn.Module, x: Tensor, y: Tensor) -> Iterator[nn.Module]:
    """Check the arguments and yield the model to attack, in evaluation mode and without gradients of its weights."""
    _check(model, x, y)
    if any(module.training for module in model.modules()):
        warnings.warn(
            "the model is in training mode; it is attacked in evaluation mode and put back afterwards", stacklevel=4
        )
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with evaluating(model):
        for parameter in learning:
            parameter.requires_grad_(False)
        try:
            yield model if isinstance(model, Optimizable) else _Plain(model)
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)


def _check(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Raise RobustftError unless x are images in [0, 1] and y their labels, on the model's device."""
    if not (x.dim() == 4 and len(x) and x.is_floating_point()):
        raise RobustftError(
            "x must be images (n, C, H, W) of floating point numbers", observed=f"{tuple(x.shape)}, {x.dtype}"
        )
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise RobustftError(
            "images must lie in [0, 1]",
            observed=f"values from {x.min():.4g} to {x.max():.4g}",
            next_step="put the normalisation inside the model, and scale the images to [0, 1]",
        )
    if y.shape != x.shape[:1] or y.dtype != torch.int64:
        raise RobustftError(
            "y must be a label of type int64 for each image",
            expected=f"({len(x)},), {torch.int64}",
            observed=f"{tuple(y.shape)}, {y.dtype}",
        )
    devices = {tensor.device for tensor in (*model.parameters(), *model.buffers(), x, y)}
    if len(devices) > 1:
        raise RobustftError(
            "the model, the images and the labels must be on one device",
            observed=", ".join(sorted(map(str, devices))),
            next_step="move the images and labels with .to(device)",
        )


def _classes(model: nn.Module, x: Tensor, y: Tensor) -> int:
    """Return K of the logits (n, K). Raises RobustftError if there are none, or if a label is none of the K classes."""
    with torch.no_grad():
        logits = model(x[:1])
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[1] < 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RobustftError("the model must return logits (n, K) of at least two classes", observed=shape)
    if not 0 <= int(y.min()) <= int(y.max()) < logits.shape[1]:
        raise RobustftError(
            "a label is none of the model's classes",
            expected=f"0 to {logits.shape[1] - 1}",
            observed=f"{int(y.min())} to {int(y.max())}",
        )
    return logits.shape[1]


def _exact(number: Number, name: str) -> Fraction:
    """Return a number as the exact fraction that is meant."""
    try:
        exact = Fraction(str(number))
    except ValueError as error:
        raise RobustftError(
            f"{name} is no number", observed=repr(number), next_step='write it like "8/255" or 0.5'
        ) from error
    simple = exact.limit_denominator(SIMPLE)
    return simple if isinstance(number, float) and float(simple) == number else exact
