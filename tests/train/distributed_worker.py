"""One process of a group, as torchrun would start it: trains each case for two steps and stores the weights.

Run by `test_distributed.py`: python distributed_worker.py FOLDER, with RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
import toy  # the file beside this one

from pipeline.methods.linear_probe import LinearProbe
from pipeline.methods.standard import Standard
from pipeline.train.distributed import World

CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # No batch norm: its statistics would be those of a share of the batch.
    "standard": (Standard(), {"batch_norm": False}, {}),
    # The backbone keeps its statistics; eps 0 makes the attack's noise, which each process draws for itself, nothing.
    "linear_probe": (LinearProbe(), {}, {"threat": {"norm": "linf", "eps": "0"}}),
}


def train(name: str, folder: Path, world: World) -> None:
    """Train two steps of batches of five, which two processes share as three and two, and store the weights."""
    method, kind, parts = CASES[name]
    scratch = folder / name / f"scratch-{world.rank}of{world.size}"
    scratch.mkdir(parents=True, exist_ok=True)
    spec = toy.spec(recipe={"epochs": 1, "batch_size": 5, "weight_decay": 0.0}, **parts)
    trainer = toy.trainer(method, scratch, spec=spec, model=toy.network(**kind), train=10, world=world)
    trainer.run()
    assert trainer.carried.step == 2
    torch.save(trainer.model.state_dict(), folder / name / f"rank{world.rank}of{world.size}.pt")
    if world.rank:
        assert not list(scratch.iterdir()), "only the first process stores the resume state"


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    if os.environ["RANK"] == "0":  # the reference, in the same process: what one process does alone
        for name in CASES:
            train(name, folder, World())
    world = World.join(toy.CPU)
    assert (world.rank, world.size) == (int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    for name in CASES:
        train(name, folder, world)
    world.leave()


if __name__ == "__main__":
    main()
