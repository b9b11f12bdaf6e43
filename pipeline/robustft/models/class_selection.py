"""Unbalanced optimal transport between classes: which source classes resemble the target's.

Chizat, Peyre, Schmitzer, Vialard. Scaling algorithms for unbalanced optimal transport problems. Math. Comp. 2018.
Liu, Xu, Xu, Qian, Li, Ji, Chan, Jin. Improved fine-tuning by better leveraging pre-training data. NeurIPS 2022: the
selection and its constants (released code).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

TEMPERATURE = 0.1
"""What the cosine distance is divided by to be a cost."""


def unbalanced_sinkhorn(
    cost: Tensor, *, entropic: float, row_relaxation: float, column_relaxation: float, tolerance: float = 1e-12
) -> Tensor:
    """Return the plan P (S, T) >= 0 that transports mass 1 from each row to mass 1 in each column, neither exactly.

    argmin <P, cost> + entropic * sum P (log P - 1) + row_relaxation * KL(P 1 || 1) + column_relaxation * KL(P' 1 || 1)
    with KL(p || q) = sum p log(p / q) - p + q, by alternating exact minimisation over the two potentials, in float64
    and on the log scale: costs of ten times the entropic weight would underflow otherwise. It stops when no potential
    moves by more than `tolerance`; each round shrinks the distance to the fixed point by at least
    row_relaxation / (row_relaxation + entropic).
    """
    scaled = -cost.double() / entropic
    rows, columns = (weight / (weight + entropic) for weight in (row_relaxation, column_relaxation))
    g = torch.zeros(cost.shape[1], dtype=torch.float64, device=cost.device)
    while True:
        f = -rows * (scaled + g).logsumexp(dim=1)
        new = -columns * (scaled + f[:, None]).logsumexp(dim=0)
        moved = (new - g).abs().max()
        g = new
        if not moved > tolerance:
            return (scaled + f[:, None] + g).exp()


def class_means(features: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Return the mean feature of each class (classes, D), float64, over batches of images and labels.

    A class without images has the mean zero, which is at distance 1 from every other.
    """
    total, count = torch.zeros(0), torch.zeros(classes, dtype=torch.float64)
    with torch.no_grad():
        for x, y in batches:
            found = features(x).double()
            if not len(total):
                total, count = found.new_zeros(classes, found.shape[1]), count.to(found.device)
            total.index_add_(0, y, found)
            count += y.bincount(minlength=classes)
    return total / count.clamp_min(1)[:, None]


def most_similar_classes(source_means: Tensor, target_means: Tensor, *, count: int) -> Tensor:
    """Return the `count` source classes that transport most mass to the target's, most first, (count,) int64.

    Rows relax easily (1) and columns hardly (100): every target class gets its mass, a source class may keep its own.
    """
    cosine = F.normalize(source_means, dim=1) @ F.normalize(target_means, dim=1).T
    plan = unbalanced_sinkhorn((1 - cosine) / TEMPERATURE, entropic=1.0, row_relaxation=1.0, column_relaxation=100.0)
    return plan.sum(dim=1).argsort(descending=True, stable=True)[:count]
