"""Picture files: decoded by PIL, resized and cropped as in torchvision.

The papers' loaders are torchvision's `Resize` (PIL, bilinear, antialiased) and `CenterCrop`; these functions give the
same bytes without importing torch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from robustft.errors import ConfigError, IntegrityError

_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""PIL's errors for damaged pictures."""


def decode(data: bytes, *, where: object, geometry: Mapping[str, Any] | None = None) -> np.ndarray:
    """Return a picture (3, H, W) uint8 out of 255, in RGB.

    Args:
        data: the picture's file.
        where: its name in errors.
        geometry: see `fit`.

    Raises IntegrityError with `where` if it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
    except _BROKEN as error:
        raise IntegrityError(
            "a picture cannot be decoded", where=where, observed=f"{len(data)} bytes; {type(error).__name__}: {error}"
        ) from error
    return fit(image, geometry or {})


def fit(image: Image.Image, geometry: Mapping[str, Any]) -> np.ndarray:
    """Return an RGB image as (3, H, W) uint8 after `geometry`.

    `resize` in pixels: a number is the new length of the shorter side at the same ratio; [height, width] sets both.
    `crop` in pixels: the side of the square that is then cut from the centre. Raises ConfigError if it is too large.
    """
    if "resize" in geometry:
        size = _size(image, geometry["resize"])
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
    if "crop" in geometry:
        image = _centre(image, geometry["crop"])
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def _size(image: Image.Image, resize: int | list[int]) -> tuple[int, int]:
    """Return the new (width, height); the longer side is rounded down, as in torchvision."""
    if not isinstance(resize, int):
        height, width = resize
        return width, height
    short, long = sorted(image.size)
    longer = int(resize * long / short)
    return (resize, longer) if image.width <= image.height else (longer, resize)


def _centre(image: Image.Image, side: int) -> Image.Image:
    """Cut the middle square; a half pixel is rounded to the even one, as `round` does in torchvision."""
    if side > min(image.size):
        raise ConfigError(
            "the crop of a geometry is larger than what it crops from",
            where="config/datasets.yaml",
            expected=f"at most {min(image.size)}",
            observed=side,
        )
    left, top = (round((length - side) / 2.0) for length in image.size)
    return image.crop((left, top, left + side, top + side))
