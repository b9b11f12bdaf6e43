"""The projection of FAB (Croce and Hein, ICML 2020) in Linf, without the package's sort of all pixels.

The nearest point of a hyperplane within [0, 1]^n moves every coordinate by the same length towards the hyperplane, or
to the end of its range if that is nearer. The distance that they cover together is a concave, piecewise linear function
of the length. So Newton's method from below reaches the piece with the solution in a few steps.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 50
"""The most steps of Newton's method, each of which passes a piece. Four to ten are usual."""


def projection_linf(points: Tensor, normals: Tensor, offsets: Tensor) -> Tensor:
    """Return the smallest step in Linf from each point to its hyperplane <w, z> = b within [0, 1]^n, (r, n).

    If the hyperplane misses the cube, the step goes as near to it as the cube allows.

    Args:
        points: t (r, n), in [0, 1].
        normals: w (r, n).
        offsets: b (r,).
    """
    gap = torch.linalg.vecdot(normals, points) - offsets
    downhill = normals.sign().mul_(torch.where(gap >= 0, -1.0, 1.0).unsqueeze(1))
    gap, slope = gap.abs(), normals.abs()
    room = torch.where(downhill < 0, points, 1 - points)
    length = (gap / slope.sum(1)).nan_to_num_(0.0)  # if w is zero nothing moves
    for _ in range(STEPS):
        step = torch.minimum(room, length.unsqueeze(1))
        short = gap - torch.linalg.vecdot(slope, step)
        steep = torch.linalg.vecdot(slope, (step < room).to(slope.dtype))
        growing = (short > 8 * torch.finfo(gap.dtype).eps * gap) & length.isfinite()
        if not growing.any():
            break
        length = torch.where(growing, length + short / steep, length)  # infinite once all coordinates are at their ends
    return torch.minimum(room, length.unsqueeze(1)).mul_(downhill)
