"""What the members of a group of processes do in `test_distributed.py`; each is a fresh process that imports this."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from pipeline.methods.linear_probe import LinearProbe
from pipeline.methods.protocol import Loss
from pipeline.methods.standard import Standard
from pipeline.train.distributed import World

from . import toy


class Halves(Standard):
    """Weighs the auxiliary half of a batch otherwise, with a weight that is drawn alike in every process."""

    uses_auxiliary = True

    def prepare(self, model: Any, start: Any = None) -> Any:
        model.head = torch.nn.Linear(model.head.in_features, 10)
        return model

    def begin(self, model: Any, *, generator: torch.Generator) -> None:
        model.weight = 1 + torch.rand(1, generator=generator).item()

    def loss(self, model: Any, x: torch.Tensor, x_adv: torch.Tensor, y: torch.Tensor) -> Loss:
        half = len(y) // 2
        assert y[:half].max() < 5 <= y[half:].min(), "each process has as many target images as auxiliary ones"
        own, other = (F.cross_entropy(model(x[part]), y[part]) for part in (slice(half), slice(half, None)))
        return Loss({"own": own, "other": 2 * model.weight * other})


CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # No batch norm: its statistics would be those of a share of the batch.
    "standard": (Standard(), {"batch_norm": False}, {}),
    # The backbone keeps its statistics; eps 0 makes the attack's noise, which each process draws for itself, nothing.
    "linear_probe": (LinearProbe(), {}, {"threat": {"norm": "linf", "eps": "0"}}),
    "halves": (Halves(), {"batch_norm": False}, {"auxiliary": {"augmentation": {"pad": 0, "flip": True}}}),
}


def train(name: str, folder: Path, world: World) -> None:
    """Train two steps of batches of five, which two processes share as three and two, and store the weights."""
    method, kind, parts = CASES[name]
    scratch = folder / name / f"scratch-{world.rank}of{world.size}"
    scratch.mkdir(parents=True, exist_ok=True)
    spec = toy.spec(recipe={"epochs": 1, "batch_size": 5, "weight_decay": 0.0}, **parts)
    more = toy.images(13, seed=4)
    trainer = toy.trainer(method, scratch, spec=spec, model=toy.network(**kind), train=10, world=world, auxiliary=more)
    trainer.run()
    assert trainer.carried.step == 2
    torch.save(trainer.model.state_dict(), folder / name / f"rank{world.rank}of{world.size}.pt")
    assert bool(list(scratch.iterdir())) == (world.rank == 0), "only the first process stores the resume state"


def train_together(rank: int, folder: Path) -> None:
    """Join the group that the environment describes and train every case."""
    torch.set_num_threads(1)
    world = World.join(toy.CPU)
    assert (world.rank, world.size) == (rank, 2) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    for name in CASES:
        train(name, folder, world)
    world.leave()


def fail_in_one(rank: int, folder: Path) -> None:
    """Fail in the second process while the first would go on for ever."""
    if rank == 1:
        raise ValueError("the second process fails")
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)
