"""Both sides of the comparison of training steps: ours, the textbook's, and how far their numbers are apart."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks import textbook
from benchmarks.cases import RECIPE, Case, lively
from benchmarks.textbook import Madry
from robustft.attacks.threat import ThreatModel
from robustft.config.load import load_document
from robustft.data.batches import Images
from robustft.files import ROOT
from robustft.methods.protocol import build_method
from robustft.models.classifier import Classifier, build_classifier
from robustft.runtime.context import Context
from robustft.runtime.randomness import generator
from robustft.speed.optimizations import Optimizations
from robustft.train.loop import Trainer

SEED = 0
WORKERS = 4
"""Workers of the textbook's DataLoader, with pinned memory, for a model on a GPU; on a CPU it has none."""
ALL = {optimization.name: True for optimization in fields(Optimizations)}


@dataclass(frozen=True)
class Setting:
    """Device, CPU threads, precision and optimizations of a step.

    amp: bfloat16 in ours and in the textbook's step. optimizations: False for those that are off.
    """

    device: str = "cpu"
    threads: int = 1
    amp: bool = False
    optimizations: Mapping[str, bool] = field(default_factory=lambda: dict(ALL))

    def without(self, optimization: str) -> Setting:
        """Return the setting with one optimization switched off."""
        return replace(self, optimizations={**self.optimizations, optimization: False})


@dataclass(frozen=True)
class Recorded(ThreatModel):
    """A threat model that keeps its projections: the start of an attack and the images after each of its steps."""

    iterates: list[Tensor] = field(default_factory=list, compare=False)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Project, and keep the result."""
        projection = super().project(x_adv, x)
        self.iterates.append(projection.detach())
        return projection


@dataclass(frozen=True)
class Problem:
    """A case with its images and its initial model, from which both steps are made."""

    case: Case
    backbone: dict[str, Any]
    pixels: Tensor
    labels: Tensor
    initial: Classifier

    @classmethod
    def of(cls, case: Case) -> Problem:
        """Draw images and weights."""
        backbone = load_document(ROOT / "config" / "backbones.yaml", "backbones").values["backbones"][case.backbone]
        return cls.on({"name": case.backbone, **backbone}, case)

    @classmethod
    def on(cls, backbone: dict[str, Any], case: Case) -> Problem:
        """Draw images and weights of a backbone {..., shape}; running statistics are those of such images."""
        torch.manual_seed(SEED)
        shape = backbone["shape"]
        pixels = torch.randint(0, 256, (case.batch, *shape), dtype=torch.uint8)
        prompts = (
            [f"a photo of a thing of kind {kind}" for kind in range(case.classes)] if backbone.get("head") else None
        )
        model = build_classifier(backbone, shape=shape, classes=case.classes, prompts=prompts)
        if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
            with torch.no_grad():
                for _ in range(20):
                    model.train()(pixels.float() / 255)
        return cls(case, backbone, pixels, torch.arange(case.batch) % case.classes, model)

    def trainer(self, setting: Setting, scratch: Path) -> Trainer:
        """Return the project's own trainer on these images."""
        case, device = self.case, torch.device(setting.device)
        images = Images(self.pixels.to(device), self.labels.to(device), 255)
        torch.manual_seed(SEED)
        trainer = Trainer(
            self._spec(setting),
            method=build_method(case.method),
            model=copy.deepcopy(self.initial).to(device),
            splits={"train": images, "test": images},
            context=Context(inputs={}, outputs={}, scratch=scratch, log=lambda line: None),
        )
        torch.manual_seed(SEED)
        lively(trainer.model)
        return trainer

    def _spec(self, setting: Setting) -> dict[str, Any]:
        case = self.case
        recipe = {
            **RECIPE,
            "batch_size": case.batch,
            "precision": "bfloat16" if setting.amp else "float32",
        }
        attack = {"steps": case.steps, "step_over_eps": case.step_over_eps}
        monitor = {"objective": "cross_entropy", "start": "uniform", **attack}
        return {
            "seed": SEED,
            "method": case.method,
            "backbone": self.backbone,
            "dataset": {"classes": list(range(case.classes)), "augmentation": {"pad": 0, "flip": False}},
            "threat": {"norm": "linf", "eps": case.eps},
            "training_attack": attack,
            "recipe": recipe,
            "monitor": {"attack": monitor, "every_epochs": 1, "images": 2},
            "diagnostics": {"steps_per_epoch": 0},
            "optimizations": dict(setting.optimizations),
            "fused_optimizer": True,
        }


class Ours:
    """The project's step, to be called again and again."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        threat = trainer.budget.threat
        self.threat = Recorded(threat.norm, threat.eps)
        trainer.budget = replace(trainer.budget, threat=self.threat)

    def __call__(self) -> None:
        """Take the next step, of one batch an epoch."""
        self.threat.iterates.clear()
        self.trainer._train_step(self.trainer.train_state.step, 0)
        self.trainer.train_state.step += 1

    @property
    def iterates(self) -> list[Tensor]:
        """The start and the images after each step of the last attack."""
        return self.threat.iterates

    @property
    def loss(self) -> float:
        """The mean loss of the steps so far."""
        self.trainer._log_losses()
        total, count = self.trainer.train_state.sums["loss"]
        return total / count


class Theirs:
    """The textbook's step on the same batches, with the same random starts."""

    def __init__(self, step: Madry, problem: Problem, device: str) -> None:
        self.step, self.problem, self.device, self.number, self.loss = step, problem, device, 0, float("nan")
        self.stream: Iterator[Any] | None = None

    def __call__(self) -> None:
        """Take the next step."""
        if self.stream is None:
            gpu = self.device != "cpu"
            self.stream = self.batches(Orders(self.problem), workers=WORKERS if gpu else 0, pinned=gpu)
        x, y = next(self.stream)
        self.loss = self.step.train_step(x, y, generator(self.device, SEED, "attack", self.number, 0))
        self.number += 1

    def batches(self, order: Iterable[int], *, workers: int = 0, pinned: bool = False) -> Iterator[Any]:
        """Return batches [images, labels] of the DataLoader."""
        pixels, labels = self.problem.pixels, self.problem.labels
        return iter(
            textbook.loader(pixels, labels, batch_size=len(labels), order=order, workers=workers, pinned=pinned)
        )

    def first(self) -> tuple[Tensor, Tensor]:
        """Return the first batch."""
        x, y = next(self.batches(Orders(self.problem)))
        return x, y


class Orders:
    """The order in which ours sees the images, epoch after epoch of one batch, without an end."""

    def __init__(self, problem: Problem) -> None:
        self.images = len(problem.labels)

    def __iter__(self) -> Iterator[int]:
        """Yield the number of each image."""
        for epoch in itertools.count():
            yield from torch.randperm(self.images, generator=generator("cpu", SEED, "order", epoch)).tolist()


def opponent(problem: Problem, ours: Ours, variant: str, setting: Setting) -> Theirs:
    """Return a textbook step that starts where ours does, which has taken no step yet."""
    case = problem.case
    step = case.opponent(
        copy.deepcopy(problem.initial).to(setting.device),
        ours.trainer.model,
        attack=case.attack,
        recipe=RECIPE,
        precision=torch.bfloat16 if setting.amp else torch.float32,
        **case.variants[variant],
    )
    return Theirs(step, problem, setting.device)


@dataclass(frozen=True)
class Difference:
    """How far two steps from the same weights differ.

    pixels: after each step of the attack, the share of pixels that differ by more than 1e-6.
    largest: after the last step, the largest difference of a pixel.
    attack_loss, loss, update: relative differences of the cross-entropy of the last images, of the loss, and of the
        change of the weights (norm of the difference over norm).
    """

    pixels: list[float]
    largest: float
    attack_loss: float
    loss: float
    update: float
    rounding: float | None = None
    """The last of `pixels` between the textbook's attack in float32 and in float64, if it is asked for."""

    def __str__(self) -> str:
        steps = len(self.pixels) - 1
        middle = (steps + 1) // 2
        own = "" if self.rounding is None else f", its own float32 from its float64 in {100 * self.rounding:.2g} %"
        return (
            f"x_adv differ from the textbook's by > 1e-6 in {100 * self.pixels[middle]:.2g} % of pixels after step "
            f"{middle}, {100 * self.pixels[-1]:.2g} % after {steps} (by {self.largest:.1g} at most){own}; relative "
            f"differences: attack's loss {self.attack_loss:.0e}, loss {self.loss:.0e}, update {self.update:.0e}"
        )


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of parameters and running statistics."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def difference(problem: Problem, ours: Ours, theirs: Theirs, *, rounding: bool = False) -> Difference:
    """Let both take their first step, and compare; `rounding` compares the textbook with its float64, too."""
    before, judge = weights(ours.trainer.model), copy.deepcopy(theirs.step.model).eval()
    own = _rounding(theirs) if rounding else None
    ours()
    theirs()
    after = weights(ours.trainer.model)
    other = {problem.case.ours(name): tensor for name, tensor in weights(theirs.step.model).items()}
    shared = [name for name, value in after.items() if value.is_floating_point() and name in other]
    apart = sum(float((after[name] - other[name]).square().sum()) for name in shared) ** 0.5
    moved = sum(float((after[name] - before[name]).square().sum()) for name in shared) ** 0.5
    gaps = [(one - two).abs() for one, two in zip(ours.iterates, theirs.step.iterates, strict=True)]
    y = theirs.first()[1].to(gaps[0].device)
    with torch.no_grad():
        one, two = (float(F.cross_entropy(judge(side[-1]), y)) for side in (ours.iterates, theirs.step.iterates))
    return Difference(
        pixels=[_apart(gap) for gap in gaps],
        largest=float(gaps[-1].max()),
        attack_loss=abs(one / two - 1),
        loss=abs(ours.loss / theirs.loss - 1),
        update=apart / moved,
        rounding=own,
    )


def _rounding(theirs: Theirs) -> float:
    """Attack the first batch in float32 and, from the same start, in float64."""
    x, y = theirs.first()
    results = []
    for dtype in (torch.float32, torch.float64):
        step = copy.deepcopy(theirs.step)
        step.model.to(dtype).eval()
        images = x.to(dtype)
        start = step.start(x, generator(theirs.device, SEED, "attack", 0, 0)).to(dtype)
        results.append(step.ascend(images, start, step.objective(images, y)).double())
    return _apart((results[0] - results[1]).abs())


def _apart(gap: Tensor) -> float:
    return float((gap > 1e-6).double().mean())


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating point operations; FlopCounterMode follows modules too, and fails on gradients of images alone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        aten = torch.ops.aten
        self.total = 0.0
        self.known: dict[Any, Callable[..., Any]] = {
            **flop_registry,
            aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[aten._scaled_dot_product_flash_attention],
            aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[
                aten._scaled_dot_product_flash_attention_backward
            ],
        }

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        count = self.known.get(function._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def flops(step: Callable[[], object]) -> float:
    """Return the floating point operations of one step: matrix products, convolutions and attention."""
    with _Operations() as counter:
        step()
    return counter.total
