"""Zero-shot classification with CLIP: train the image tower, read the classes' texts once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch

from robustft.errors import ConfigError
from robustft.models.classifier import Classifier, Normalise
from robustft.models.text_heads import CosineHead
from robustft.models.tunings.protocol import Tuning


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Tuning):
    """Train the image tower with fixed class embeddings, which are computed once before training.

    scale: s; None keeps the scale of pre-training. The code released with PMG-AFT uses 1.
    normalisation: {mean, std} that replace those of the pre-trained model; None keeps them. The released code uses
        those of ImageNet.
    """

    attached: ClassVar[bool] = True

    scale: float | None = None
    normalisation: Mapping[str, list[float]] | None = None

    def prepare(self, model: Classifier) -> Classifier:
        """Replace the text tower by a fixed head. Raises ConfigError for a head without texts."""
        if not isinstance(model.head, CosineHead):
            raise ConfigError("zero-shot classes need a text head", observed=type(model.head).__name__)
        with torch.no_grad():
            model.head = model.head.retargeted(model.head)
            if self.scale is not None:
                model.head.scale.fill_(self.scale)
        if self.normalisation is not None:
            mean = model.normalise.mean
            model.normalise = Normalise(**self.normalisation).to(mean)  # type: ignore[arg-type]
        return model
