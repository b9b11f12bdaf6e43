"""One batch for several processes: each passes its share of the images through the network, all see all outputs.

What is outside of the network (losses, their means, halves, sums over a batch) is computed by every process for the
whole batch, so it is what one process computes. A classifier's entries are `by_share`.

Gradients: every process differentiates the same loss L, and a sum over processes has itself as its derivative. So each
parameter's gradient is that of the sum of all processes' L, of which the mean over processes is dL.
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
    """How a batch is shared: process `rank` of `size` has its part of the first half and its part of the second.

    So what is done with the two halves of a batch (two wings, two data sets) can be done with those of a share.
    """

    rank: int
    size: int
    crafting: int = 0
    """While images are crafted, how many: outputs for other processes' shares of them are left zero."""

    def pieces(self, n: int) -> tuple[slice, slice]:
        """Return this process's two parts of n images; the first is as long as the second, or one longer."""
        middle = (n + 1) // 2
        return self._part(0, middle), self._part(middle, n)

    def _part(self, start: int, end: int) -> slice:
        # As torch.tensor_split: the first processes take what is left over.
        least, more = divmod(end - start, self.size)
        first = start + self.rank * least + min(self.rank, more)
        return slice(first, first + least + (self.rank < more))

    def own(self, x: Tensor) -> Tensor:
        """Return this process's share of a batch (n, ...)."""
        return torch.cat([x[piece] for piece in self.pieces(len(x))])

    def placed(self, rows: Tensor, n: int) -> Tensor:
        """Return n rows of which this process's share is `rows`, and the others are zero."""
        first, second = self.pieces(n)
        middle = first.stop - first.start
        gaps = [first.start, second.start - first.stop, n - second.stop]
        before, between, after = (rows.new_zeros(gap, *rows.shape[1:]) for gap in gaps)
        return torch.cat([before, rows[:middle], between, rows[middle:], after])

    def small(self, n: int) -> bool:
        """Tell whether n images are too few to share: then every process computes all of them."""
        return n < 2 * self.size


_active: ShardedBatch | None = None
"""How batches are shared now; None if this process has them to itself."""
_current_shard: ShardedBatch | None = None
"""The same within a classifier's entry, where images are those of this process's share."""


@contextlib.contextmanager
def _set(*, active: ShardedBatch | None, current_shard: ShardedBatch | None) -> Iterator[None]:
    global _active, _current_shard
    before = _active, _current_shard
    _active, _current_shard = active, current_shard
    try:
        yield
    finally:
        _active, _current_shard = before


@contextlib.contextmanager
def sharded_over(rank: int, size: int) -> Iterator[None]:
    """Let the processes of the group share all batches that classifiers see within the context."""
    with _set(active=ShardedBatch(rank, size) if size > 1 else None, current_shard=None):
        yield


def sharded_forward(entry: Entry) -> Entry:
    """Let a method (self, images) of a classifier compute the share of this process and return the outputs of all.

    The result is a tensor (n, ...) or a tuple of some.
    """

    @functools.wraps(entry)
    def shared(self: Any, x: Tensor) -> Any:
        if _active is None or _active.small(len(x)):
            return entry(self, x)
        batch = _active
        crafting = batch.crafting == len(x)
        if not crafting and x.requires_grad:
            x = cast(Tensor, _Replicated.apply(x))  # type: ignore[no-untyped-call]
        with _set(active=None, current_shard=batch):
            found = entry(self, batch.own(x))
        complete = functools.partial(_completed, n=len(x), batch=batch, crafting=crafting)
        return complete(found) if isinstance(found, Tensor) else tuple(map(complete, found))

    return cast(Entry, shared)


def _completed(rows: Tensor, *, n: int, batch: ShardedBatch, crafting: bool) -> Tensor:
    placed = batch.placed(rows, n)
    return placed if crafting else all_reduced(placed)


def sharded_attack(attack: Callable[[], Tensor], n: int) -> Tensor:
    """Return what an attack makes of a batch of n images; each process attacks its share and tells the others.

    The attack must treat images one by one, as one on a network in evaluation mode does. Where it attacks other
    batches than the n images (some of them, say) all processes attack all of these together.
    """
    if _active is None or _active.small(n):
        return attack()
    batch = _active
    with _set(active=ShardedBatch(batch.rank, batch.size, crafting=n), current_shard=None):
        images = attack()
    whole = all_reduced(batch.placed(batch.own(images), n))
    return torch.empty_like(images).copy_(whole)  # stored as the attack's


def current_shard() -> ShardedBatch | None:
    """Return how the batch is shared whose share passes a network now; None if what passes is all there is."""
    return _current_shard


def averaged(gradient: Tensor) -> Tensor:
    """Return the mean over the processes that share batches now: of their gradients, that is the batch's gradient."""
    return gradient if _active is None else all_reduced(gradient) / _active.size


class _Sum(torch.autograd.Function):
    """The sum over all processes, in each of them; differentiable any number of times."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        total = x.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return all_reduced(gradient)


class _Replicated(torch.autograd.Function):
    """Images that every process has: the gradient for each of them is the mean of what the processes find."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return all_reduced(gradient) / dist.get_world_size()


def all_reduced(x: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; each calls this, and each gets the same bits."""
    return cast(Tensor, _Sum.apply(x))  # type: ignore[no-untyped-call]
