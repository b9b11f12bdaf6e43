"""The group of processes that train one run: this process's place in it, gradients averaged over it, starting it."""

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
from torch import nn
from torch.multiprocessing.spawn import ProcessException, start_processes
from torch.nn.parallel import DistributedDataParallel

from robustft.errors import RobustftError
from robustft.files import write_text
from robustft.parallel.launcher import Launcher
from robustft.parallel.sharded_batch import sharded_over
from robustft.parallel.sync_batch_norm import to_sync_batch_norm


@dataclass(frozen=True)
class World:
    """This process (`rank`) in a group of `size` processes; by default it is alone."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """The device of this process's tensors: NCCL moves tensors between GPUs only."""

    @classmethod
    def join(cls, device: torch.device) -> World:
        """Join the group of RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT (set by `launch`), or be alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=10))
        return cls(dist.get_rank(), size, device)

    def wrap(self, objective: nn.Module) -> nn.Module:
        """Return a module whose backward pass averages gradients over the group; its batch norms are synchronised.

        A step may use only some of the trained parameters, such as those of one of several defences. Running statistics
        are the same in all processes already, so buffers are not sent.
        """
        if self.size == 1:
            return objective
        to_sync_batch_norm(objective)
        return DistributedDataParallel(objective, find_unused_parameters=True, forward_sync_buffers=False)

    def sharded(self) -> AbstractContextManager[None]:
        """Shard each batch that passes a classifier within the context over the group."""
        return sharded_over(self.rank, self.size)

    def check_agreement(self, value: int, what: str) -> None:
        """Raise RobustftError unless all processes have the same value; each process must call this."""
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


def _process(
    local_rank: int,
    size: int,
    launcher: Launcher,
    errors: str,
    function: Callable[..., None],
    arguments: tuple[Any, ...],
) -> None:
    rank, total = launcher.rank * size + local_rank, launcher.count * size
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(total))
    os.environ.update(MASTER_ADDR=launcher.address, MASTER_PORT=str(launcher.port))
    try:
        function(local_rank, *arguments)
    except RobustftError as error:
        write_text(Path(errors) / str(local_rank), str(error))
        raise


def launch(
    size: int,
    function: Callable[..., None],
    *arguments: Any,
    launcher: Launcher = Launcher(),  # noqa: B008 (frozen)
) -> None:
    """Run `function(local_rank, *arguments)` in `size` fresh processes of this machine; all must be picklable.

    They form one group with the processes of the other launchers. If one process fails, the others of this machine
    are ended.

    Raises:
        RobustftError: a process raised it; the message is the same.
        torch.multiprocessing.spawn.ProcessException: a process failed in another way.
    """
    if launcher.count == 1:
        launcher = replace(launcher, port=_free_port())
    with tempfile.TemporaryDirectory() as errors:
        try:
            start_processes(  # type: ignore[no-untyped-call]
                _process, (size, launcher, errors, function, arguments), nprocs=size, start_method="spawn"
            )
        except ProcessException:
            messages = sorted(Path(errors).iterdir())
            if messages:
                raise RobustftError(messages[0].read_text(encoding="utf-8")) from None
            raise
