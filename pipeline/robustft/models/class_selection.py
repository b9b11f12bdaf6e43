"""Selection of the source classes that are most similar to the target classes, by unbalanced optimal transport.

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
"""The cost of transport is the cosine distance divided by this."""


def unbalanced_sinkhorn(
    cost: Tensor, *, entropic: float, row_relaxation: float, column_relaxation: float, tolerance: float = 1e-12
) -> Tensor:
    """Return the transport plan P (S, T), float64, whose rows and columns each have a mass of about 1.

    P = argmin <P, cost> + entropic sum P (log P - 1) + row_relaxation KL(P 1 || 1) + column_relaxation KL(P' 1 || 1)
    with KL(p || q) = sum p log(p / q) - p + q. The two potentials are minimised exactly in turn, in float64 and on the
    log scale, as costs of ten times the entropic weight would underflow. The iteration stops when no potential moves by
    more than `tolerance`. Each round shrinks the distance to the fixed point at least by the factor
    row_relaxation / (row_relaxation + entropic).

    Args:
        cost: (S, T).
        entropic: weight of the entropy, above 0.
        row_relaxation: weight of the rows' masses, above 0.
        column_relaxation: weight of the columns' masses, above 0.
        tolerance: largest movement of a potential at the end.
    """
    scaled = -cost.double() / entropic
    rows, columns = (weight / (weight + entropic) for weight in (row_relaxation, column_relaxation))
    g = torch.zeros(cost.shape[1], dtype=torch.float64, device=cost.device)
    while True:
        f = -rows * (scaled + g).logsumexp(dim=1)
        new = -columns * (scaled + f[:, None]).logsumexp(dim=0)
        movement = (new - g).abs().max()
        g = new
        if not movement > tolerance:
            return (scaled + f[:, None] + g).exp()


def class_means(features: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> Tensor:
    """Return the mean feature of each class, (classes, D) float64, over batches of images and labels (n,).

    A class without images has the mean zero, which is at distance 1 from every other. `features` maps images to (n, D).
    """
    total, count = torch.zeros(0), torch.zeros(classes, dtype=torch.float64)
    with torch.no_grad():
        for x, y in batches:
            values = features(x).double()
            if not len(total):
                total, count = values.new_zeros(classes, values.shape[1]), count.to(values.device)
            total.index_add_(0, y, values)
            count += y.bincount(minlength=classes)
    return total / count.clamp_min(1)[:, None]


def most_similar_classes(source_means: Tensor, target_means: Tensor, *, count: int) -> Tensor:
    """Return the `count` source classes that give most mass to the target classes, most first, (count,) int64.

    The weight of the rows is 1 and that of the columns 100: every target class gets its mass, a source class may keep
    its own. The means are (S, D) and (T, D).
    """
    cosine = F.normalize(source_means, dim=1) @ F.normalize(target_means, dim=1).T
    plan = unbalanced_sinkhorn((1 - cosine) / TEMPERATURE, entropic=1.0, row_relaxation=1.0, column_relaxation=100.0)
    return plan.sum(dim=1).argsort(descending=True, stable=True)[:count]
