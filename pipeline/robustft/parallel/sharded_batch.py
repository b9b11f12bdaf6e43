"""Sharded batches: each process passes its shard of a batch through the network and gets the outputs of all shards.

Every process computes everything outside of the network (losses, means, halves of a batch) for the whole batch, so the
result is that of one process. The entry points of a classifier are decorated with `sharded_forward`.

Gradients: every process differentiates the same loss L. The derivative of a sum over processes is again a sum over
processes, so each process gets the gradient of its shard times the number of processes; the mean over processes is dL.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

Entry = TypeVar("Entry", bound=Callable[..., Any])


@dataclass(frozen=True)
class ShardedBatch:
    """How a batch is sharded: process `rank` of `size` has a part of the first half and a part of the second half.

    So a layer that treats the two halves of a batch differently (two wings, two data sets) can do so with a shard.
    """

    rank: int
    size: int
    attacked: int = 0
    """During an attack, the number of images under attack, otherwise 0: a forward pass of so many images returns zeros
    for the other processes' images."""

    def pieces(self, n: int) -> tuple[slice, slice]:
        """Return this process's parts of the two halves of n images; the first half has the extra image if n is odd."""
        middle = (n + 1) // 2
        return self._part(0, middle), self._part(middle, n)

    def _part(self, start: int, end: int) -> slice:
        # As torch.tensor_split: the first processes take the rest of the division.
        quotient, rest = divmod(end - start, self.size)
        first = start + self.rank * quotient + min(self.rank, rest)
        return slice(first, first + quotient + (self.rank < rest))

    def own(self, x: Tensor) -> Tensor:
        """Return this process's shard of a batch (n, ...)."""
        return torch.cat([x[piece] for piece in self.pieces(len(x))])

    def padded(self, shard: Tensor, n: int) -> Tensor:
        """Return a batch (n, ...) that holds this process's shard and zeros in all other rows."""
        first, second = self.pieces(n)
        middle = first.stop - first.start
        gaps = [first.start, second.start - first.stop, n - second.stop]
        before, between, after = (shard.new_zeros(gap, *shard.shape[1:]) for gap in gaps)
        return torch.cat([before, shard[:middle], between, shard[middle:], after])

    def too_small(self, n: int) -> bool:
        """Tell whether n images are too few to shard: then every process computes all of them."""
        return n < 2 * self.size


_sharding: ShardedBatch | None = None
"""How batches are sharded now; None outside of `sharded_over` and within a forward pass of a shard."""
_current_shard: ShardedBatch | None = None
"""The shard that passes a network now; None outside of such a forward pass."""


@contextlib.contextmanager
def _set(*, sharding: ShardedBatch | None, current_shard: ShardedBatch | None) -> Iterator[None]:
    global _sharding, _current_shard
    before = _sharding, _current_shard
    _sharding, _current_shard = sharding, current_shard
    try:
        yield
    finally:
        _sharding, _current_shard = before


@contextlib.contextmanager
def sharded_over(rank: int, size: int) -> Iterator[None]:
    """Shard all batches that pass classifiers within the context over `size` processes, of which this is `rank`."""
    with _set(sharding=ShardedBatch(rank, size) if size > 1 else None, current_shard=None):
        yield


def sharded_forward(entry: Entry) -> Entry:
    """Decorate a method (self, images (n, C, H, W)) of a classifier that returns a tensor (n, ...) or a tuple of them.

    The method computes the shard of this process; the decorated method returns the outputs of the whole batch.
    """

    @functools.wraps(entry)
    def sharded(self: Any, x: Tensor) -> Any:
        if _sharding is None or _sharding.too_small(len(x)):
            return entry(self, x)
        batch = _sharding
        attacked = batch.attacked == len(x)
        if not attacked and x.requires_grad:
            x = cast(Tensor, _Replicated.apply(x))  # type: ignore[no-untyped-call]
        with _set(sharding=None, current_shard=batch):
            output = entry(self, batch.own(x))
        gather = functools.partial(_gathered, n=len(x), batch=batch, attacked=attacked)
        return gather(output) if isinstance(output, Tensor) else tuple(map(gather, output))

    return cast(Entry, sharded)


def _gathered(shard: Tensor, *, n: int, batch: ShardedBatch, attacked: bool) -> Tensor:
    padded = batch.padded(shard, n)
    return padded if attacked else all_reduced(padded)


def sharded_attack(attack: Callable[[], Tensor], n: int) -> Tensor:
    """Return an attack's adversarial images of a batch of n; each process attacks its shard and sends it to the others.

    The attack must treat images one by one, as attacks on a network in evaluation mode do. A forward pass of another
    number of images than n is computed as in training: all processes exchange its outputs.
    """
    if _sharding is None or _sharding.too_small(n):
        return attack()
    batch = _sharding
    with _set(sharding=ShardedBatch(batch.rank, batch.size, attacked=n), current_shard=None):
        images = attack()
    whole = all_reduced(batch.padded(batch.own(images), n))
    return torch.empty_like(images).copy_(whole)  # in the attack's memory format


def current_shard() -> ShardedBatch | None:
    """Return how the batch is sharded of which a shard passes a network now; None if a whole batch passes."""
    return _current_shard


def averaged(gradient: Tensor) -> Tensor:
    """Return the mean of a gradient over the processes that shard batches now; that is the batch's gradient."""
    return gradient if _sharding is None else all_reduced(gradient) / _sharding.size


class _Sum(torch.autograd.Function):
    """The sum over all processes; differentiable any number of times."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return all_reduced(gradient)


class _Replicated(torch.autograd.Function):
    """Images that every process has: their gradient is the mean over the processes."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return all_reduced(gradient) / dist.get_world_size()


def all_reduced(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes. Each process must call this, and each gets the same bits."""
    return cast(Tensor, _Sum.apply(x))  # type: ignore[no-untyped-call]
