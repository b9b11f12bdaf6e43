"""Batch norm whose statistics are those of the whole batch, of which each process has a shard.

Why not torch.nn.SyncBatchNorm: it is for GPUs only and can be differentiated once; gradient diversity needs more.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.parallel.sharded_batch import ShardedBatch, all_reduced, current_shard

HALF = (torch.float16, torch.bfloat16)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch norm that shares mean and variance with the other processes, in training mode.

    Shards may differ in size. It can be differentiated twice, as the diversity of gradients (Chen et al., CVPR 2020)
    needs.
    """

    folds = True
    """In evaluation mode this is a plain batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a shard (n, C, H, W)."""
        batch = current_shard()
        if batch is None or not self.training:
            return super().forward(x)
        values = x.float() if x.dtype in HALF else x
        mean, variance, count = _moments(values, batch)
        self._update_running(mean.detach(), variance.detach(), count.detach())
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return (values * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).to(x.dtype)

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        rate = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1))
        self.running_mean.mul_(1 - rate).add_(mean.to(self.running_mean.dtype), alpha=rate)
        self.running_var.mul_(1 - rate).add_(unbiased.to(self.running_var.dtype), alpha=rate)


def _moments(x: Tensor, batch: ShardedBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and biased variance (C,) over all processes' (n, C, H, W), and how many values that are.

    The processes exchange means and variances, not sums: the square of a large mean would swallow a variance
    (Chan, Golub, LeVeque. Updating Formulae and a Pairwise Algorithm for Computing Sample Variances. 1979).
    """
    channels = x.shape[1]
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    row = torch.cat([mean, variance, x.new_full((1,), x.numel() // channels)])[None]
    table = all_reduced(F.pad(row, (0, 0, batch.rank, batch.size - batch.rank - 1)))
    means, variances, counts = torch.split(table, [channels, channels, 1], dim=1)
    parts = counts.detach() / counts.detach().sum()
    mean = (parts * means).sum(0)
    return mean, (parts * (variances + (means - mean).square())).sum(0), counts.detach().sum()


def to_sync_batch_norm(model: nn.Module) -> nn.Module:
    """Turn every BatchNorm2d of a model into one of the whole batch, in place; weights and their names stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d
    return model
