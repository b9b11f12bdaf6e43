"""Attacks whose bound is not one of pixels, as functions for config/attacks.yaml.

Kang, Sun, Hendrycks, Brown, Steinhardt. Testing Robustness Against Unforeseen Adversaries. arXiv 1908.08016.

Each renders an image from controls in [-eps, eps] (coefficients of a compressed image, arrows of a flow) and searches
the controls by PGD on cross-entropy from a uniform start. Controls of zero give the image itself. The caller chooses
the steps; the paper takes 200 of size eps/sqrt(200) against a random target class.

| paper | here |
| --- | --- |
| Linf-JPEG, eps (released code: coefficients move by at most eps/2 units of the table) | `jpeg_linf`, 2 eps |
| the image itself goes through colour subsampling | only the change does |
| Elastic, flow smoothed by a Gaussian of 3 pixels, cut at 12 | `elastic`, the same shares of the side |
| a warped image is black beyond its border | the border is continued |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import Perturbed, ThreatModel

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation of brightness: rows are vertical frequencies (ITU-T T.81, table K.1: quality 50)."""

CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)
"""Quantisation of colour (ITU-T T.81, table K.2)."""

_SMOOTHING = 3 / 32
"""Standard deviation of the flow's Gaussian as a share of the image's side: three pixels of CIFAR-10's 32."""


def jpeg_linf(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    generator: torch.Generator,
    steps: int,
    step_over_eps: str,
) -> Perturbed:
    """Return images (n, C, H, W) in [0, 1] whose quantised JPEG coefficients are at most eps from those of x.

    C is 1 or 3. Decompression is linear, so only the change is decompressed; nothing is rounded. `eps` is in units of
    the quantisation tables, a step is `step_over_eps` eps. Raises ValueError unless the norm is Linf.
    """
    n, channels, height, width = x.shape
    unit = 16 if channels == 3 else 8
    tall, wide = (-(-side // unit) * unit for side in (height, width))
    colours = tall * wide // 2 if channels == 3 else 0

    def render(controls: Tensor) -> Tensor:
        change = _luma(controls[:, : tall * wide].view(n, tall, wide))
        if colours:
            # Colour has half the resolution of brightness, as in ordinary files (4:2:0).
            halved = controls[:, tall * wide :].reshape(2 * n, tall // 2, wide // 2)
            change = _to_rgb(change, F.interpolate(_chroma(halved).view(n, 2, tall // 2, wide // 2), scale_factor=2))
        return x + change.view(n, channels, tall, wide)[:, :, :height, :width]

    size = (n, tall * wide + colours)
    return _search(
        model, x, y, render, size, threat=threat, generator=generator, steps=steps, step_over_eps=step_over_eps
    )


def elastic(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    threat: ThreatModel,
    generator: torch.Generator,
    steps: int,
    step_over_eps: str,
) -> Perturbed:
    """Return images (n, C, H, W) in [0, 1], warped by a smoothed flow of at most eps pixels along each axis.

    A step is `step_over_eps` eps. Raises ValueError unless the norm is Linf.
    """
    n, _, height, width = x.shape
    rows, columns = (_gaussian(side, dtype=x.dtype, device=x.device) for side in (height, width))
    lines = [torch.linspace(-1, 1, side, dtype=x.dtype, device=x.device) for side in (width, height)]
    still = torch.stack(torch.meshgrid(*lines, indexing="xy"), dim=-1)
    pixel = torch.tensor([2 / (width - 1), 2 / (height - 1)], dtype=x.dtype, device=x.device)

    def render(controls: Tensor) -> Tensor:
        flow = rows @ controls.view(n, 2, height, width) @ columns.T
        where = still + flow.permute(0, 2, 3, 1) * pixel
        return warped(x, where)

    size = (n, 2 * height * width)
    return _search(
        model, x, y, render, size, threat=threat, generator=generator, steps=steps, step_over_eps=step_over_eps
    )


def warped(x: Tensor, where: Tensor) -> Tensor:
    """Return images (n, C, H, W) read bilinearly at places (n, H, W, 2), (column, row) from -1 to 1 at the corners.

    Beyond the border the border is continued. On a GPU the backward pass of torch's kernel is refused by a repeatable
    run, so there the four neighbours are gathered: equal up to rounding, and without a gradient for x.
    """
    if not x.is_cuda:
        return F.grid_sample(x, where, mode="bilinear", padding_mode="border", align_corners=True)
    return gathered(x, where)


def gathered(x: Tensor, where: Tensor) -> Tensor:
    """Return what `warped` does, by gathers; the gradient reaches the places alone."""
    height, width = x.shape[-2:]
    column = ((where[..., 0] + 1) * ((width - 1) / 2)).clamp(0, width - 1)
    row = ((where[..., 1] + 1) * ((height - 1) / 2)).clamp(0, height - 1)
    left, top = column.detach().floor().clamp(max=width - 2), row.detach().floor().clamp(max=height - 2)
    right, down = (column - left)[:, None], (row - top)[:, None]
    first, flat = (top * width + left).long().flatten(1), x.detach().flatten(2)

    def neighbour(offset: int) -> Tensor:
        index = (first + offset)[:, None].expand(-1, x.shape[1], -1)
        return flat.gather(2, index).view(*x.shape[:2], *where.shape[1:3])

    upper = neighbour(0) * (1 - right) + neighbour(1) * right
    lower = neighbour(width) * (1 - right) + neighbour(width + 1) * right
    return upper * (1 - down) + lower * down


def _search(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    render: Callable[[Tensor], Tensor],
    size: tuple[int, int],
    *,
    threat: ThreatModel,
    generator: torch.Generator,
    steps: int,
    step_over_eps: str,
) -> Perturbed:
    """Return the images, clipped to [0, 1], after PGD over controls (n, m) in [-eps, eps], and the controls' norms.

    PGD moves points of [0, 1] around their start, so it is given (control / eps + 1) / 2 and half the range as eps.
    """
    if threat.norm != "linf":
        raise ValueError(f"the controls are bounded in linf, not in {threat.norm}")
    eps = float(threat.eps)

    def image(point: Tensor) -> Tensor:
        return render((2 * point - 1) * eps).clamp(0, 1)

    control = pgd(
        lambda point: model(image(point)),
        torch.full(size, 0.5, dtype=x.dtype, device=x.device),
        budget=Budget(ThreatModel("linf", Fraction(1, 2)), steps, Fraction(step_over_eps)),
        objective=partial(cross_entropy, y=y),
        start="uniform",
        generator=generator,
    )
    with torch.no_grad():
        return Perturbed(image(control), ((2 * control - 1) * eps).abs().amax(dim=1))


@cache
def _cosines() -> Tensor:
    """Return the orthonormal DCT-II of eight points, (frequency, position), float64."""
    position = torch.arange(8, dtype=torch.float64)
    basis = torch.cos((2 * position[None] + 1) * position[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


@cache
def _constants(table: tuple[tuple[int, ...], ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the cosines and the table's steps, (8, 8) each: copied to a GPU once and not at each step."""
    return _cosines().to(device, dtype), torch.tensor(table, dtype=dtype, device=device)


def _decompressed(coefficients: Tensor, table: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return pixels (n, H, W) in units of full white from quantised coefficients (n, H, W) in blocks of 8x8."""
    n, height, width = coefficients.shape
    basis, steps = _constants(table, coefficients.dtype, coefficients.device)
    scaled = coefficients.view(n, height // 8, 8, width // 8, 8) * steps[:, None]
    pixels = torch.einsum("nhuwv,ux,vy->nhxwy", scaled, basis, basis)
    return pixels.reshape(n, height, width) / 255


_luma = partial(_decompressed, table=LUMA_TABLE)
_chroma = partial(_decompressed, table=CHROMA_TABLE)


def _to_rgb(luma: Tensor, chroma: Tensor) -> Tensor:
    """Return red, green and blue (n, 3, H, W) of changes in brightness (n, H, W) and in Cb and Cr (n, 2, H, W)."""
    cb, cr = chroma.unbind(1)
    return torch.stack([luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb], dim=1)


def _gaussian(side: int, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the matrix (side, side) that smooths a line: a Gaussian cut at four deviations, the line mirrored."""
    sigma = _SMOOTHING * side
    reach = min(round(4 * sigma), side - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=dtype, device=device)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    padded = F.pad(torch.eye(side, dtype=dtype, device=device)[None], (reach, reach), mode="reflect")[0]
    return (padded.unfold(1, len(offsets), 1) @ (weights / weights.sum())).T
