"""One process or several: torch's DistributedDataParallel around the whole loss."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from pipeline.methods.protocol import Method


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

    @classmethod
    def join(cls, device: torch.device) -> World:
        """Join the group that torchrun describes in the environment, or be alone."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=10))
        return cls(dist.get_rank(), size)

    def wrap(self, objective: Objective) -> nn.Module:
        """Return the module whose backward pass averages gradients over the group."""
        return objective if self.size == 1 else DistributedDataParallel(objective)

    def share(self, *tensors: Tensor) -> tuple[list[Tensor], float]:
        """Return this process's part of a batch, and the factor that makes the mean of means the mean of all."""
        if self.size == 1:
            return list(tensors), 1.0
        parts = [tensor.tensor_split(self.size)[self.rank] for tensor in tensors]
        return parts, len(parts[0]) * self.size / len(tensors[0])

    def leave(self) -> None:
        """Leave the group."""
        if self.size > 1:
            dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _member(rank: int, size: int, port: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    function(rank, *arguments)


def launch(size: int, function: Callable[..., None], *arguments: Any) -> None:
    """Run `function(rank, *arguments)` in `size` fresh processes of this machine that form one group.

    If one fails, the others are ended and its error is raised here. Function and arguments must be picklable.
    """
    start_processes(  # type: ignore[no-untyped-call]
        _member, (size, _free_port(), function, arguments), nprocs=size, start_method="spawn"
    )
