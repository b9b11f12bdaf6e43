"""CLIP models of open_clip as classifiers: the logits of an image are its similarities to a text for each class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.runtime.imports import import_without

TEMPLATE = "a photo of a {}."


class ZeroShot(nn.Module):
    """Normalised images (n, 3, H, W) to logits (n, K) (Radford et al., ICML 2021); the texts are encoded once.

    Args:
        clip: a model of open_clip, whose names of weights are the file's.
        name: of the model, for its tokenizer.
    """

    texts: Tensor

    def __init__(self, clip: nn.Module, name: str) -> None:
        super().__init__()
        self.clip, self.name = clip, name
        self.register_buffer("texts", torch.zeros(0), persistent=False)

    def read(self, texts: Sequence[str]) -> None:
        """Encode a text for each class. Called after the weights are loaded."""
        with import_without("transformers"):
            import open_clip
        with torch.no_grad():
            tokens = open_clip.get_tokenizer(self.name)(list(texts))
            self.texts = F.normalize(self.clip.encode_text(tokens), dim=1)  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        images = F.normalize(self.clip.encode_image(x), dim=1)  # type: ignore[operator]
        logits: Tensor = self.clip.logit_scale.exp() * images @ self.texts.T  # type: ignore[operator]
        return logits


def zero_shot_builder(name: str) -> Callable[..., nn.Module]:
    """Return what builds a model of open_clip with fresh weights, and without texts."""

    def build(*, classes: int | None = None, channels: int | None = None) -> nn.Module:
        with import_without("transformers"):
            import open_clip
        return ZeroShot(open_clip.create_model(name, pretrained=None), name)

    return build
