"""Time AutoAttack on a shard of ours against the package's own driver, and two worker processes against one.

    python -m benchmarks.autoattack            # every case on one CPU thread; stored
    python -m benchmarks.autoattack --quick    # two small cases; not stored
    python -m benchmarks.autoattack --only cifar

The driver attacks the model as users load it: in evaluation mode, batch norm as it is, all weights requiring
gradients. Ours is `AutoAttackShard` on the same model, frozen, with every optimization and the memory layout of the
`attack` step. One row times the whole `attack` step instead: it reads checkpoint and data file, checks the
perturbations and writes the ledger. Both get the same images, seed and queries. The outcomes (still classified
correctly or not) must be equal for all images, or nothing is reported. The networks are trained adversarially for a
few steps on scikit-learn's digits first, so that some images hold.
"""

from __future__ import annotations

import argparse
import copy
import functools
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.paired import Function, paired
from benchmarks.rows import Row, Spread, write_rows
from robustft.attacks.autoattack import AutoAttackShard, targeted_classes
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.config.load import load_document
from robustft.data.imagefile import save
from robustft.errors import RobustftError
from robustft.evaluate.ledger import read_ledger
from robustft.evaluate.step import attack
from robustft.files import ROOT
from robustft.models.checkpoint import save_checkpoint
from robustft.models.classifier import Classifier, build_classifier
from robustft.runtime.context import Context
from robustft.runtime.randomness import counter_seed
from robustft.speed.optimizations import Optimizations, memory_format

GROUP = "AutoAttack"
BAR = 1.3
BAR_PROCESSES = 1.8
CLASSES, SEED = 5, 1


@dataclass(frozen=True)
class Case:
    """A network, its short training, and the attack.

    Training takes `steps` steps on 64 images each. The images are digits 5 to 9, enlarged by `scale`, in `channels`
    equal channels.
    """

    backbone: str
    images: int
    queries: int
    eps: Fraction
    norm: str = "linf"
    steps: int = 200
    scale: int = 1
    channels: int = 1
    lr: float = 0.05

    @property
    def name(self) -> str:
        """What the row is called."""
        return f"{self.backbone}, {self.images} images, {self.norm} {self.eps}, {self.queries} queries"

    @property
    def threat(self) -> ThreatModel:
        """The threat model."""
        return ThreatModel(self.norm, self.eps)


FIFTH = Fraction(1, 5)
LARGE = Case("resnet_digits", 256, 500, FIFTH)
QUICK = (Case("resnet_digits", 64, 500, FIFTH), Case("resnet_digits", 24, 500, FIFTH))
CASES = (
    *QUICK,
    Case("resnet_digits", 64, 5000, FIFTH),
    Case("resnet_digits", 64, 500, Fraction(3, 4), norm="l2"),
    Case("vit_digits_patch4", 64, 500, Fraction(1, 8), steps=500, lr=0.004),
    Case("resnet10v2_cifar", 16, 500, Fraction(1, 8), steps=60, scale=4, channels=3),
)


def rows(*, quick: bool, only: str = "") -> list[Row]:
    """Measure and return the rows; `only` those whose name has this in it."""
    torch.set_num_threads(1)
    repeats, pair = 1 if quick else 3, QUICK[-1] if quick else LARGE
    bar = None if quick else BAR_PROCESSES
    parts: dict[str, Callable[[], Row]] = {
        **{_shard(case): partial(against_the_driver, case, repeats=repeats) for case in (QUICK if quick else CASES)},
        f"the attack step: {QUICK[0].name}": partial(whole_step, QUICK[0], repeats=repeats),
        f"two processes against one: {pair.name}": partial(two_processes, pair, repeats=repeats, bar=bar),
    }
    return [measure() for name, measure in parts.items() if only in name]


def _shard(case: Case) -> str:
    return f"a shard: {case.name}"


def against_the_driver(case: Case, *, repeats: int) -> Row:
    """Compare the package's driver with `AutoAttackShard` on one case."""
    x, y = digits(case, train=False)
    theirs, ours = trained(case), trained(case).requires_grad_(False)
    sides = {"textbook": partial(by_the_driver, case, theirs, x, y), "ours": partial(by_us, case, ours, x, y)}
    return compared(sides, _shard(case), repeats=repeats)


def whole_step(case: Case, *, repeats: int) -> Row:
    """Compare the package's driver with the `attack` step, from files to the ledger, on one case."""
    x, y = digits(case, train=False)
    pixels = (255 * x).round().to(torch.uint8)
    x = pixels.float() / 255
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        about = {"backbone": _backbone(case), "shape": list(x.shape[1:]), "classes": CLASSES, "prompts": None}
        save_checkpoint(folder / "checkpoint", trained(case), about=about)
        save(
            folder / "data",
            images=pixels.numpy(),
            labels=y.numpy(),
            splits={"digits/test": np.arange(len(y))},
            about={"levels": 255, "datasets": {"digits": {"classes": list(range(CLASSES))}}},
        )
        seed = counter_seed(SEED, "autoattack", 0) % 2**31  # what the step draws its first shard's seed from
        sides = {
            "textbook": partial(by_the_driver, case, trained(case), x, y, seed=seed),
            "ours": partial(by_the_step, case, folder),
        }
        return compared(sides, f"the attack step: {case.name}", repeats=repeats)


def compared(sides: Mapping[str, Function], name: str, *, repeats: int) -> Row:
    """Time both sides, each of which returns which images hold (n,).

    Raises RobustftError unless they are the same images.
    """
    outcomes: dict[str, Any] = {}

    def run(side: str) -> None:
        outcomes[side] = sides[side]()

    times = paired({side: partial(run, side) for side in sides}, repeats=repeats, warmup=0, clock=time.process_time)
    images, equal = len(outcomes["ours"]), int((outcomes["textbook"] == outcomes["ours"]).sum())
    if equal != images:
        raise RobustftError(
            "AutoAttack by the package's driver and ours do not break the same images",
            where=name,
            expected=f"{images} equal outcomes",
            observed=f"{equal} equal outcomes",
        )
    note = f"all {images} outcomes equal; {int(outcomes['ours'].sum())} images hold; 1 thread, its own time"
    return times.row(GROUP, name, bar=BAR, note=note)


def two_processes(case: Case, *, repeats: int, bar: float | None) -> Row:
    """Compare one worker process on two shards, one after the other, with two workers on a shard each.

    The clock starts when all processes have network and images.
    """
    context = multiprocessing.get_context("spawn")
    one: list[float] = []
    two: list[float] = []
    ready = case, trained(case).requires_grad_(False), *digits(case, train=False)
    with context.Pool(1, _prepare, ready) as single, context.Pool(2, _prepare, ready) as pair:
        for pool, workers in ((single, 1), (pair, 2)):
            pool.map(_attack_shard, [0] * workers, chunksize=1)
        for _ in range(repeats):
            for pool, seconds in ((single, one), (pair, two)):
                start = time.perf_counter()
                pool.map(_attack_shard, [0, 0], chunksize=1)
                seconds.append(time.perf_counter() - start)
    ratio = Spread.of([first / second for first, second in zip(one, two, strict=True)])
    name = f"two processes against one, two shards: {case.name}"
    note = f"ours in both; {2 * case.images / Spread.of(two).median:.1f} images/s with two; 1 thread each"
    return Row(GROUP, name, "s", Spread.of(one), Spread.of(two), ratio, bar, note, 2.0)


_ready: dict[str, tuple[Case, nn.Module, Tensor, Tensor]] = {}


def _prepare(case: Case, model: nn.Module, x: Tensor, y: Tensor) -> None:
    torch.set_num_threads(1)
    _ready["case"] = case, model, x, y


def _attack_shard(_: int) -> None:
    by_us(*_ready["case"])


def by_the_driver(case: Case, model: nn.Module, x: Tensor, y: Tensor, *, seed: int = SEED) -> Tensor:
    """Return which images hold (n,) under the package's driver, with the case's number of classes and queries."""
    from pyautoattack import AutoAttack

    norm = {"linf": "Linf", "l2": "L2"}[case.norm]
    driver = AutoAttack(model, norm=norm, eps=float(case.eps), seed=seed, version="standard")
    driver.apgd_targeted.n_target_classes = driver.fab.n_target_classes = targeted_classes(CLASSES)
    driver.square.n_queries = case.queries
    return driver.run_standard_evaluation(x, y, batch_size=len(x))[1] == y  # type: ignore[no-any-return]


def by_us(case: Case, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which images hold (n,) under our shard."""
    shard = AutoAttackShard(
        model.to(memory_format=memory_format(model, Optimizations())),  # type: ignore[call-overload]
        threat=case.threat,
        classes=CLASSES,
        seed=SEED,
        device=torch.device("cpu"),
        square_queries=case.queries,
    )
    return shard.run(x, y, shard.clean(x)).robust(y)


def by_the_step(case: Case, inputs: Path) -> Tensor:
    """Return which images hold (n,) by the ledger of the `attack` step, which starts from nothing in its scratch."""
    ensemble = {"name": "autoattack", "algorithm": "autoattack", "version": "standard", "target": "exported_model"}
    spec = {
        "models": ["-"],
        "derivation": None,
        "prompts": None,
        "dataset": "digits",
        "split": "test",
        "images": [0, case.images],
        "shard_images": case.images,
        "threat": {"norm": case.norm, "eps": str(case.eps)},
        "attacks": [{**ensemble, "square_queries": case.queries}],
        "seed": SEED,
        "device": "cpu",
        "threads": 1,
        "optimizations": {},
    }
    with tempfile.TemporaryDirectory() as scratch:
        ledger = Path(scratch) / "ledger"
        read = {role: inputs / role for role in ("checkpoint", "data")}
        context = Context(inputs=read, outputs={"ledger": ledger}, scratch=Path(scratch), log=lambda line: None)
        attack(spec, context)
        torch.set_deterministic_debug_mode("default")  # the step sets it; the driver's turns are free of it
        outcome = read_ledger(ledger)["autoattack"]
    holds = torch.zeros(case.images, dtype=torch.bool)
    holds[torch.tensor(outcome.image, dtype=torch.int64)] = torch.tensor(outcome.prediction == outcome.label)
    return holds


def digits(case: Case, *, train: bool) -> tuple[Tensor, Tensor]:
    """Return digits 5 to 9 as the case's images (n, C, 8 s, 8 s) in [0, 1] with labels 0 to 4."""
    source = load_digits()
    x = torch.tensor(source.images / 16, dtype=torch.float32).unsqueeze(1)[source.target >= 5]
    y = torch.tensor(source.target[source.target >= 5]) - 5
    x = F.interpolate(x, scale_factor=case.scale).expand(-1, case.channels, -1, -1).contiguous()
    return (x[:600], y[:600]) if train else (x[600 : 600 + case.images], y[600 : 600 + case.images])


def trained(case: Case) -> Classifier:
    """Return the case's network after its steps of adversarial training, in evaluation mode: a copy for each caller."""
    return copy.deepcopy(_trained(replace(case, images=0, queries=0)))


def _backbone(case: Case) -> dict[str, Any]:
    entry = load_document(ROOT / "config" / "backbones.yaml", "backbones").values["backbones"][case.backbone]
    return {"name": case.backbone, **{key: entry[key] for key in ("implementation", "parameters", "normalisation")}}


@functools.cache
def _trained(case: Case) -> Classifier:
    torch.manual_seed(0)
    x, y = digits(case, train=True)
    model = build_classifier(_backbone(case), shape=list(x.shape[1:]), classes=CLASSES)
    optimizer = torch.optim.AdamW(model.parameters(), lr=case.lr) if case.lr < 0.01 else _sgd(model, case.lr)
    budget = Budget(ThreatModel("linf", min(case.eps, FIFTH)), 5, Fraction(1, 3))
    draws = torch.Generator().manual_seed(0)
    for _ in range(case.steps):
        batch = torch.randint(0, len(x), (64,), generator=draws)
        objective = partial(cross_entropy, y=y[batch])
        x_adv = pgd(model.eval(), x[batch], budget=budget, objective=objective, start="none")
        optimizer.zero_grad()
        cross_entropy(model.train()(x_adv), y[batch]).mean().backward()
        optimizer.step()
    return model.eval()


def _sgd(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and store unless it is quick."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller; nothing is stored")
    parser.add_argument("--only", default="", metavar="TEXT", help="only rows whose name has it; nothing is stored")
    parsed = parser.parse_args(arguments)
    measured = rows(quick=parsed.quick, only=parsed.only)
    if not parsed.quick and not parsed.only:
        write_rows(ROOT / "benchmarks" / "results" / "autoattack.json", measured, topic="autoattack")
    for row in measured:
        ratio = "" if row.ratio is None else f"{row.ratio.median:.2f}"
        sys.stdout.write(f"{row.name}: {ratio}; {row.note}\n")


if __name__ == "__main__":
    main()
