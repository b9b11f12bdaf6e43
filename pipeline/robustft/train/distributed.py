"""One process or several: torch's DistributedDataParallel around the whole loss."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import ProcessException, start_processes
from torch.nn.parallel import DistributedDataParallel

from robustft.errors import RobustftError
from robustft.files import write_text
from robustft.methods.protocol import Method
from robustft.parallel.launcher import Launcher
from robustft.parallel.sharded_batch import sharded_over
from robustft.parallel.sync_batch_norm import to_sync_batch_norm


class Objective(nn.Module):
    """Model and method as one module whose forward pass is the loss, so that it is wrapped once, whatever it calls."""

    def __init__(self, model: nn.Module, method: Method) -> None:
        super().__init__()
        self.model, self._method = model, method

    def forward(self, x: Tensor, x_adv: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return the named terms of the loss."""
        return dict(self._method.loss(self.model, x, x_adv, y).terms)  # type: ignore[arg-type]


@dataclass(frozen=True)
class World:
    """This process among those that train one run together."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where this process's tensors lie: NCCL, the group's language between GPUs, only moves tensors of GPUs."""

    @classmethod
    def join(cls, device: torch.device) -> World:
        """Join the group that the environment describes (`launch`), or be alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=10))
        return cls(dist.get_rank(), size, device)

    def wrap(self, objective: Objective) -> nn.Module:
        """Return the module whose backward pass averages gradients over the group, batch norms being the batch's.

        A step may leave trained parameters out: the embeddings of the defences that it is not about. Statistics of
        batch norms are the same in all processes anyway.
        """
        if self.size == 1:
            return objective
        to_sync_batch_norm(objective)
        return DistributedDataParallel(objective, find_unused_parameters=True, forward_sync_buffers=False)

    def sharing(self) -> AbstractContextManager[None]:
        """Shard each batch that passes a classifier within the context over the group."""
        return sharded_over(self.rank, self.size)

    def agree(self, value: int, what: str) -> None:
        """Raise RobustftError unless all processes have the same value; else they would wait for ever."""
        if self.size == 1:
            return
        ends = torch.tensor([value, -value], device=self.device)
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        if ends[0] != -ends[1]:
            raise RobustftError(
                f"the processes of one run do not agree on {what}",
                observed=f"{-int(ends[1])} to {int(ends[0])}",
                next_step="let all of them see the same scratch folder, or remove it",
            )

    def leave(self) -> None:
        """Leave the group."""
        if self.size > 1:
            dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _member(
    local: int, size: int, launcher: Launcher, errors: str, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    rank, total = launcher.rank * size + local, launcher.count * size
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(total))
    os.environ.update(MASTER_ADDR=launcher.address, MASTER_PORT=str(launcher.port))
    try:
        function(local, *arguments)
    except RobustftError as error:
        write_text(Path(errors) / str(local), str(error))
        raise


def launch(
    size: int,
    function: Callable[..., None],
    *arguments: Any,
    launcher: Launcher = Launcher(),  # noqa: B008 (frozen)
) -> None:
    """Run `function(number, *arguments)` in `size` fresh processes of this machine.

    They form one group, with those that the other starters launch. If one fails, the others of this machine are
    ended; a RobustftError is raised here as it was raised there, any other error as torch's ProcessRaisedException.
    Function and arguments must be picklable.
    """
    if launcher.count == 1:
        launcher = replace(launcher, port=_free_port())
    with tempfile.TemporaryDirectory() as errors:
        try:
            start_processes(  # type: ignore[no-untyped-call]
                _member, (size, launcher, errors, function, arguments), nprocs=size, start_method="spawn"
            )
        except ProcessException:
            told = sorted(Path(errors).iterdir())
            if told:
                raise RobustftError(told[0].read_text(encoding="utf-8")) from None
            raise
