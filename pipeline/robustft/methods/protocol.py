"""What the training loop knows of a method."""

from __future__ import annotations

import contextlib
import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from robustft.attacks.pgd import Budget
from robustft.models.classifier import Classifier
from robustft.models.tunings.protocol import Tuning, build_tuning
from robustft.runtime.components import build
from robustft.speed.optimizations import apply_optimizations, optimizations_of


@dataclass(frozen=True)
class Loss:
    """A loss as named terms, each already multiplied by its weight; the total is their plain sum.

    A name may begin with a group and a slash ("frozen/cross_entropy"): the diagnostics report gradients by group.
    """

    terms: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The sum of the terms: what is differentiated."""
        return torch.stack(list(self.terms.values())).sum()

    def groups(self) -> dict[str, Tensor]:
        """Return the sum of the terms of each group, in the order of their first term; "all" is the nameless one."""
        sums: dict[str, Tensor] = {}
        for name, term in self.terms.items():
            group = name.split("/")[0] if "/" in name else "all"
            sums[group] = sums[group] + term if group in sums else term
        return sums


def _no_batches() -> Iterator[tuple[Tensor, Tensor]]:
    return iter(())


@dataclass(frozen=True)
class PretrainingContext:
    """What a method may look at before training begins."""

    source: Classifier | None = None
    """The complete pre-trained model, its own head included, frozen and in evaluation mode."""
    target: Callable[[], Iterator[tuple[Tensor, Tensor]]] = _no_batches
    """Iterates over the training images in [0, 1] and their labels, in batches, without augmentation."""
    auxiliary: Callable[[], Iterator[tuple[Tensor, Tensor]]] = _no_batches
    """The same for the auxiliary data set, if the experiment has one."""


class Method(Protocol):
    """A paper's objective, or a baseline's. Implementations are frozen dataclasses; their fields are the weights.

    Only `attack` and `loss` have no default.
    """

    uses_source: ClassVar[bool] = False
    """Whether `start.source` is needed; else it is None."""
    uses_auxiliary: ClassVar[bool] = False
    """Whether each batch also holds as many images of the experiment's auxiliary data set: after the target's, with
    labels that count on from the number of target classes."""

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Turn a freshly initialised model into the one that is trained; what requires no gradient is frozen."""
        return model

    def auxiliary_classes(self, model: Classifier) -> Tensor | None:
        """Return which classes of the auxiliary data set are used, (c,) int64; None for all."""
        return None

    def pretext(self, x: Tensor, y: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the images and targets that the objective is stated on, made from a labelled batch.

        A self-supervised task draws its rotations here. Targets may be (n, T), with logits (n, K, T).
        """
        return x, y

    def on_step_start(self, model: Classifier, *, generator: torch.Generator) -> None:
        """Draw what is random in one step of training and leave it in the model."""
        return

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Return the adversarial images that the loss sees, shaped as x; the model's modes are left as they were.

        Images are attacked independently, so several processes may attack a shard each (`parallel/sharded_batch.py`).
        """

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the loss on clean images x, adversarial images x_adv (n, C, H, W) and labels y (n,).

        A method whose weights change as training goes on adds the keyword `progress`, the share of training done.
        """

    def score(self, correct: Tensor) -> Tensor:
        """Return how right the model is on each image, (n,) in [0, 1], from which predictions are right, (n, ...)."""
        return correct.double().flatten(1).mean(dim=1) if correct.ndim > 1 else correct.double()

    def after_step(self, model: Classifier) -> None:
        """Do what follows each step of the optimiser, such as an average of weights in buffers of the model."""
        return

    def end_epoch(self, model: Classifier, rows: Sequence[Mapping[str, float]]) -> float:
        """Return a factor for the learning rate of all epochs to come, over the factors that were returned before.

        `rows` is the history so far, the epoch that ends last: the method itself keeps nothing between two calls.
        """
        return 1.0

    def export(self, model: Classifier) -> Classifier:
        """Return the model used at test time; it may be changed in place. See `at_test`."""
        return model


@contextlib.contextmanager
def at_test(method: Method, model: Classifier) -> Iterator[Classifier]:
    """Give the model that a method uses at test time, in evaluation mode; training may go on with `model` as it was.

    The monitor, the selection of an epoch and the checkpoint all see this model.
    """
    tested = method.export(copy.deepcopy(model))
    apply_optimizations(tested, optimizations_of(model))
    yield tested.eval()


@dataclass(frozen=True)
class Wrapping(Method):
    """A method around another one, which does all that this class does not do otherwise.

    In a configuration `inner` is {implementation, parameters}, as for a method of its own.
    """

    inner: Method

    def __post_init__(self) -> None:
        """Build the inner method that a configuration describes."""
        given: Any = self.inner
        if isinstance(given, Mapping):
            object.__setattr__(self, "inner", build_method({"name": "inner", "parameters": {}, **given}))

    @property
    def uses_source(self) -> bool:  # type: ignore[override]
        """As the inner method."""
        return self.inner.uses_source

    @property
    def uses_auxiliary(self) -> bool:  # type: ignore[override]
        """As the inner method."""
        return self.inner.uses_auxiliary

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """As the inner method."""
        return self.inner.prepare(model, start)

    def auxiliary_classes(self, model: Classifier) -> Tensor | None:
        """As the inner method."""
        return self.inner.auxiliary_classes(model)

    def pretext(self, x: Tensor, y: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As the inner method."""
        return self.inner.pretext(x, y, generator=generator)

    def score(self, correct: Tensor) -> Tensor:
        """As the inner method."""
        return self.inner.score(correct)

    def on_step_start(self, model: Classifier, *, generator: torch.Generator) -> None:
        """As the inner method."""
        self.inner.on_step_start(model, generator=generator)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """As the inner method."""
        return self.inner.attack(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor, *, progress: float = 0.0) -> Loss:
        """As the inner method."""
        return loss_of(self.inner, model, x, x_adv, y, progress=progress)

    def after_step(self, model: Classifier) -> None:
        """As the inner method."""
        self.inner.after_step(model)

    def end_epoch(self, model: Classifier, rows: Sequence[Mapping[str, float]]) -> float:
        """As the inner method."""
        return self.inner.end_epoch(model, rows)

    def export(self, model: Classifier) -> Classifier:
        """As the inner method."""
        return self.inner.export(model)


@dataclass(frozen=True)
class Tuned(Wrapping):
    """An objective, `inner`, over the parameters that a tuning trains, against attacks on what it shows them."""

    tuning: Tuning

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Tune the model, then let the objective prepare it."""
        return super().prepare(self.tuning.prepare(model), start)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Attack the model that the tuning gives to training attacks."""
        with self.tuning.attacked(model):
            return super().attack(model, x, y, budget=budget, generator=generator)

    def export(self, model: Classifier) -> Classifier:
        """Undo what the objective prepared, then what the tuning attached."""
        return self.tuning.export(super().export(model))


def loss_of(method: Method, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor, *, progress: float = 0.0) -> Loss:
    """Return a method's loss. A method whose `loss` has the argument `progress` is told how much of it is done."""
    if "progress" in inspect.signature(method.loss).parameters:
        return method.loss(model, x, x_adv, y, progress=progress)  # type: ignore[call-arg]
    return method.loss(model, x, x_adv, y)


def build_method(spec: Mapping[str, Any]) -> Method:
    """Build the method that a specification {name, implementation, parameters, tuning} describes.

    Raises ConfigError for an unknown parameter, naming the nearest, for a missing one, and for a value of another kind
    than its field's type.
    """
    title = f"the method '{spec['name']}'"
    method: Method = build(spec["implementation"], spec["parameters"], kind="method", title=title)
    return method if spec.get("tuning") is None else Tuned(method, build_tuning(spec["tuning"]))
