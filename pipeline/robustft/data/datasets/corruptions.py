"""Common corruptions of clean test images, by the package imagecorruptions-imaug.

Hendrycks, Dietterich. Benchmarking Neural Network Robustness to Common Corruptions and Perturbations. ICLR 2019.
The package maintains the authors' functions, with the severities of ImageNet-C. It needs images of at least 32x32
pixels, so a smaller image is enlarged by repeating its pixels, and afterwards one pixel of each block stays: without a
corruption this is exactly the identity. Strengths in pixels are those of the enlarged image.

A corrupted test set is laid out as CIFAR-10-C is: for each type a block of all images at severity 1, then all at
severity 2, up to 5. The position in that order is the number of an image in ledgers.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from safetensors import safe_open

from robustft.data.decoded import Decoded
from robustft.data.imagefile import Split, load_split
from robustft.errors import ConfigError, RobustftError
from robustft.files import sha256_file

COMMON = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""The fifteen types of the benchmark: noise, blur, weather, digital."""

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four types that the benchmark reserves for the choice of hyper-parameters."""

SEVERITIES = (1, 2, 3, 4, 5)

_SMALLEST = 32
"""The package refuses smaller images."""

_OWN_SEED = ("glass_blur", "impulse_noise")
"""Types with a seed as an argument; the others draw from numpy's global state."""


def load(source: dict[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return corrupted images (T*5*n, C, H, W) uint8 out of 255, their labels, and the SHA-256 of the clean file.

    Args:
        source: `corrupted_from` {dataset, split, images}: the first n images of that split are corrupted;
            `corruptions`: the T types; `draw_seed`: with type, severity and image it determines every draw.
        files: `clean` is the decoded source of the clean data set.

    Raises:
        ConfigError: the split has too few images.
        RobustftError: the package is not installed.
    """
    origin, clean = source["corrupted_from"], files["clean"]
    split = load_split(clean, dataset=origin["dataset"], split=origin["split"])
    count = origin["images"]
    if count > len(split.labels):
        raise ConfigError(
            f"{origin['dataset']}/{origin['split']} has too few images to corrupt",
            where="config/datasets.yaml",
            expected=f"at most {len(split.labels)}",
            observed=count,
        )
    _package()  # a missing package is an error before any work
    # Arrays, not functions for threads: the package draws from numpy's global state, which threads would share.
    images = (
        corrupt(_clean(split, position), kind, severity, seed=_seed(source["draw_seed"], kind, severity, index))
        for kind in source["corruptions"]
        for severity in SEVERITIES
        for position, index in enumerate(split.indices[:count])
    )
    with safe_open(clean, framework="np") as file:
        labels = file.get_tensor("labels")[split.indices[:count]]
    tiled = np.tile(labels, len(source["corruptions"]) * len(SEVERITIES))
    return Decoded(labels=tiled, images=images, sha256=sha256_file(clean))


def _clean(split: Split, position: int) -> np.ndarray:
    """Return an image of a split (C, H, W) uint8 out of 255."""
    (image,) = split.take(np.array([position]))
    return np.rint(image * (255 / split.levels)).astype(np.uint8)


def corrupt(image: np.ndarray, kind: str, severity: int, *, seed: int) -> np.ndarray:
    """Return one image (C, H, W) uint8 out of 255, C 1 or 3, under a corruption of severity 1 to 5."""
    factor = -(-_SMALLEST // min(image.shape[1:]))
    large = image.repeat(factor, axis=1).repeat(factor, axis=2).transpose(1, 2, 0)
    own = {"seed": seed} if kind in _OWN_SEED else {}
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        corrupted = _package().corrupt(large, severity=severity, corruption_name=kind, **own)
    finally:
        np.random.set_state(state)
    # One pixel of each block, and one of three channels for a grey image: a mean would cancel noise.
    middle = slice(factor // 2, None, factor)
    channels = slice(None) if len(image) == 3 else slice(1, 2)
    return np.ascontiguousarray(corrupted[middle, middle, channels].transpose(2, 0, 1))


def _package() -> Any:
    """Import the package late: it takes half a second, and only this source needs it."""
    try:
        return importlib.import_module("imagecorruptions")
    except ImportError as error:
        raise RobustftError(
            "the package that makes common corruptions cannot be imported",
            observed=error,
            next_step="install the packages of envs/run.txt (make install)",
        ) from error


def _seed(draw_seed: int, kind: str, severity: int, index: int) -> int:
    """Return the seed of one image, which depends on no other image and no other type."""
    key = np.random.SeedSequence([draw_seed, crc32(kind.encode()), severity, int(index)])
    return int(key.generate_state(1)[0])
