"""A CLIP of a few hundred image-tower parameters, on grey 8x8 images."""

from __future__ import annotations

from typing import Any

import torch

from robustft.models.classifier import Classifier, build_classifier

NAMES = ["zero", "one", "two", "three", "four", "five", "six"]


def backbone(**changes: Any) -> dict[str, Any]:
    """Return the specification, with some of the image tower's parameters changed."""
    image = {"image_size": 8, "patch_size": 4, "width": 8, "layers": 1, "heads": 2, "embed_dim": 6, "mlp_ratio": 2.0}
    text = {"width": 8, "layers": 1, "heads": 2, "context_length": 8, "mlp_ratio": 2.0}
    return {
        "name": "toy_clip",
        "implementation": "robustft.models.backbones.clip:ImageTower",
        "parameters": {**image, **changes},
        "head": {"implementation": "robustft.models.text_heads:TextHead", "parameters": text},
        "normalisation": {"mean": [0.3], "std": [0.4]},
    }


def toy_clip(
    prompts: list[str] | None = None, *, seed: int = 0, dtype: torch.dtype = torch.float64, **changes: Any
) -> Classifier:
    """Build the model on these prompts (five digits' names); equal seeds give equal weights."""
    torch.manual_seed(seed)
    prompts = prompts or [f"a {name}" for name in NAMES[:5]]
    model = build_classifier(backbone(**changes), shape=[1, 8, 8], classes=len(prompts), prompts=prompts)
    return model.to(dtype)


def images(n: int = 5, *, dtype: torch.dtype = torch.float64, size: int = 8) -> torch.Tensor:
    """Draw grey images (n, 1, size, size) in [0, 1]."""
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(3), dtype=dtype)


def about(prompts: list[str], tuning: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what a checkpoint of the model says of itself."""
    return {
        "backbone": backbone(),
        "shape": [1, 8, 8],
        "classes": len(prompts),
        "prompts": prompts,
        "tuning": tuning,
    }
