"""Picture files: decoded by PIL, resized and cropped as in torchvision.

The papers' loaders are torchvision's `Resize` (PIL, bilinear, antialiased) and `CenterCrop`; these functions give the
same bytes without importing torch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from robustft.errors import ConfigError, IntegrityError
from robustft.runtime.sandbox.decoding import decoding

_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""What data sets hold. PIL knows forty more, of which EPS starts Ghostscript."""

_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
"""PIL's kinds of pixels of 8 bits or fewer that have a meaning in RGB."""

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
"""TIFF 6.0: bits per sample; 1 if 0 is black; (1,) for unsigned whole numbers, the default."""


def decode(data: bytes, *, where: object, geometry: Mapping[str, Any] | None = None) -> np.ndarray:
    """Return a picture (3, H, W) uint8 out of 255, in RGB.

    Args:
        data: the picture's file.
        where: its name in errors.
        geometry: see `fit`.

    Of several frames it is the first. Sixteen bits become eight by their higher byte, as in PIL's own colour pictures.
    Orientation in EXIF is ignored, as torchvision ignores it. Raises IntegrityError with `where` if the picture cannot
    be decoded, or its format does not say which value is full white.
    """
    with decoding(f"a picture of {len(data)} bytes cannot be decoded", where=where):
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
                image = _eight_bits(opened, where)
        except UnidentifiedImageError as error:
            raise ValueError(f"it begins with {data[:8]!r}, as none of {', '.join(_FORMATS)} does") from error
        return fit(image, geometry or {})


def _eight_bits(image: Image.Image, where: object) -> Image.Image:
    """Return a picture in RGB. PIL itself would cut grey values above 255 to white."""
    if image.mode in _MODES:
        return image.convert("RGB")
    if not _sixteen_bits(image):
        raise IntegrityError(
            "a picture's format does not say which value is full white",
            where=where,
            expected="RGB, grey, a palette or CMYK in 8 bits, or grey of 16 bits where 0 is black",
            observed=f"{image.format} of mode {image.mode}",
            next_step="convert it to 8 bits",
        )
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")


def _sixteen_bits(image: Image.Image) -> bool:
    """Tell whether the grey values of a picture are from 0, black, to 65535, white."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]  # of TIFF alone
        return (tags.get(_BITS), tags.get(_SAMPLE_FORMAT, (1,)), tags.get(_PHOTOMETRIC)) == ((16,), (1,), 1)
    # PIL stretches the values of a PGM whose full white is another one.
    return image.format in ("PNG", "PPM") and image.mode != "F"


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
