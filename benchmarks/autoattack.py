"""Time AutoAttack on a shard of ours against the package's own driver, and two worker processes against one.

    python -m benchmarks.autoattack            # every case on one CPU thread
    python -m benchmarks.autoattack --quick

The driver attacks the model as users load it: in evaluation mode, batch norm as it is, all weights requiring
gradients. Ours attacks the same model frozen, with every lever. Both get the same images, seed and queries; the row's
note says for how many images the outcomes (still right or not) are equal, which must be all of them. Networks are
trained adversarially for a moment on scikit-learn's digits first, so that some images hold.
"""

from __future__ import annotations

import argparse
import copy
import functools
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.paired import paired
from benchmarks.rows import Row, Spread, write_rows
from pipeline.attacks.autoattack import AutoAttackShard, targeted_classes
from pipeline.attacks.objectives import cross_entropy
from pipeline.attacks.pgd import Budget, pgd
from pipeline.attacks.threat import ThreatModel
from pipeline.config import load_document
from pipeline.files import ROOT
from pipeline.models.classifier import build_classifier

GROUP = "AutoAttack"
BAR = 1.3
BAR_PROCESSES = 1.8
CLASSES, SEED = 5, 1


@dataclass(frozen=True)
class Case:
    """A network, how it is trained for the purpose, and what is attacked how.

    `steps` of training on 64 images; the images are digits 5 to 9, enlarged by `scale` and in `channels` copies.
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
QUICK = (Case("resnet_digits", 64, 500, FIFTH), Case("resnet_digits", 24, 500, FIFTH))
CASES = (
    *QUICK,
    Case("resnet_digits", 64, 5000, FIFTH),
    Case("resnet_digits", 64, 500, Fraction(3, 4), norm="l2"),
    Case("vit_digits_patch4", 64, 500, Fraction(1, 8), steps=500, lr=0.004),
    Case("resnet10v2_cifar", 16, 500, Fraction(1, 8), steps=60, scale=4, channels=3),
)


def rows(*, quick: bool) -> list[Row]:
    """Measure and return the rows."""
    torch.set_num_threads(1)
    found = [against_the_driver(case, repeats=1 if quick else 3) for case in (QUICK if quick else CASES)]
    return [*found, two_processes(QUICK[-1] if quick else QUICK[0], repeats=1 if quick else 5)]


def against_the_driver(case: Case, *, repeats: int) -> Row:
    """Compare the package's driver with our shard on one case."""
    x, y = digits(case, train=False)
    theirs, ours = trained(case), trained(case).requires_grad_(False)
    found: dict[str, Tensor] = {}

    def textbook() -> None:
        found["textbook"] = by_the_driver(case, theirs, x, y)

    def shard() -> None:
        found["ours"] = by_us(case, ours, x, y)

    times = paired({"textbook": textbook, "ours": shard}, repeats=repeats, warmup=0, clock=time.process_time)
    equal, holding = int((found["textbook"] == found["ours"]).sum()), int(found["ours"].sum())
    note = f"{equal} of {len(x)} outcomes equal; {holding} images hold; 1 thread, its own time"
    return times.row(GROUP, case.name, bar=BAR, note=note)


def two_processes(case: Case, *, repeats: int) -> Row:
    """Compare one worker process on two shards, one after the other, with two workers on a shard each.

    The processes stand ready, with network and images, before the clock starts.
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
    return Row(GROUP, name, "s", Spread.of(one), Spread.of(two), ratio, BAR_PROCESSES, note, 2.0)


_ready: dict[str, tuple[Case, nn.Module, Tensor, Tensor]] = {}


def _prepare(case: Case, model: nn.Module, x: Tensor, y: Tensor) -> None:
    torch.set_num_threads(1)
    _ready["case"] = case, model, x, y


def _attack_shard(_: int) -> None:
    by_us(*_ready["case"])


def by_the_driver(case: Case, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which images hold (n,) under the package's driver, told of the number of classes and queries."""
    from pyautoattack import AutoAttack

    norm = {"linf": "Linf", "l2": "L2"}[case.norm]
    driver = AutoAttack(model, norm=norm, eps=float(case.eps), seed=SEED, version="standard")
    driver.apgd_targeted.n_target_classes = driver.fab.n_target_classes = targeted_classes(CLASSES)
    driver.square.n_queries = case.queries
    return driver.run_standard_evaluation(x, y, batch_size=len(x))[1] == y  # type: ignore[no-any-return]


def by_us(case: Case, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return which images hold (n,) under our shard."""
    shard = AutoAttackShard(
        model,
        threat=case.threat,
        classes=CLASSES,
        seed=SEED,
        device=torch.device("cpu"),
        square_queries=case.queries,
    )
    return shard.run(x, y, shard.clean(x)).robust(y)


def digits(case: Case, *, train: bool) -> tuple[Tensor, Tensor]:
    """Return digits 5 to 9 as the case's images (n, C, 8 s, 8 s) in [0, 1] with labels 0 to 4."""
    found = load_digits()
    x = torch.tensor(found.images / 16, dtype=torch.float32).unsqueeze(1)[found.target >= 5]
    y = torch.tensor(found.target[found.target >= 5]) - 5
    x = F.interpolate(x, scale_factor=case.scale).expand(-1, case.channels, -1, -1).contiguous()
    return (x[:600], y[:600]) if train else (x[600 : 600 + case.images], y[600 : 600 + case.images])


def trained(case: Case) -> nn.Module:
    """Return the case's network after its steps of adversarial training, in evaluation mode: a copy for each caller."""
    return copy.deepcopy(_trained(replace(case, images=0, queries=0)))


@functools.cache
def _trained(case: Case) -> nn.Module:
    entry = load_document(ROOT / "config" / "backbones.yaml", "backbones").values["backbones"][case.backbone]
    spec = {key: entry[key] for key in ("implementation", "parameters", "normalisation")}
    torch.manual_seed(0)
    x, y = digits(case, train=True)
    model = build_classifier({"name": case.backbone, **spec}, shape=list(x.shape[1:]), classes=CLASSES)
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
    """Measure, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parsed = parser.parse_args(arguments)
    found = rows(quick=parsed.quick)
    write_rows(ROOT / "benchmarks" / "results" / "autoattack.json", found, topic="autoattack", quick=parsed.quick)
    for row in found:
        ratio = "" if row.ratio is None else f"{row.ratio.median:.2f}"
        sys.stdout.write(f"{row.name}: {ratio}; {row.note}\n")


if __name__ == "__main__":
    main()
