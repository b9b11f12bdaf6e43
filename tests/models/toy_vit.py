"""A small vision transformer for grey 8x8 images, with weights of the size of a trained network's."""

from __future__ import annotations

import torch
from torch import nn

from robustft.models.classifier import Classifier, build_classifier

WIDTH, DEPTH, CLASSES = 8, 2, 5
BACKBONE = {
    "name": "toy_vit",
    "implementation": "robustft.models.backbones.vit:ViT",
    "parameters": {"image_size": 8, "patch_size": 2, "width": WIDTH, "depth": DEPTH, "heads": 2},
    "normalisation": {"mean": [0.3], "std": [0.4]},
}


def toy_vit(*, seed: int = 0, classes: int = CLASSES, dtype: torch.dtype = torch.float64) -> Classifier:
    """Build one; equal seeds give equal weights."""
    torch.manual_seed(seed)
    model = build_classifier(BACKBONE, shape=[1, 8, 8], classes=classes)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):  # timm's are ten times smaller, and their attention is flat
                module.weight.normal_(0, module.in_features**-0.5)
                module.bias.normal_(0, 0.1)
            elif isinstance(module, nn.LayerNorm):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
    return model.to(dtype).eval()


def full_size(*, width: int, depth: int, heads: int, image: int, patch: int, classes: int = 10) -> Classifier:
    """Build a published architecture without memory for its weights."""
    shape = {"image_size": image, "patch_size": patch, "width": width, "depth": depth, "heads": heads}
    spec = {**BACKBONE, "parameters": shape, "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    with torch.device("meta"):
        return build_classifier(spec, shape=[3, image, image], classes=classes)


def images(n: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Draw images (n, 1, 8, 8) away from the ends of [0, 1]."""
    return 0.05 + 0.9 * torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def trained(module: nn.Module) -> int:
    """Count the parameters that are trained."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
