"""What an evaluation judges: the model, and the images that it is attacked on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robustft.data.batches import Images
from robustft.data.imagefile import class_texts, load_split
from robustft.models.checkpoint import load_classifier
from robustft.models.classifier import Classifier, derived


class Readable(Protocol):
    """Images of which a part is read when it is attacked: there may be more than the memory holds."""

    def take(self, index: slice, /) -> tuple[Tensor, Tensor]:
        """Return images (b, C, H, W) float32 in [0, 1] and labels (b,) int64, on the device."""


@dataclass(frozen=True)
class Subject:
    """What is attacked: a model of K classes, and the images of a specification with their places in their source."""

    model: nn.Module
    classes: int
    images: Readable
    indices: np.ndarray
    """(n,) what the ledger calls an image."""

    @classmethod
    def of(cls, spec: dict[str, Any], inputs: dict[str, Path], device: torch.device) -> Subject:
        """Read the checkpoint and the images of a step."""
        split = load_split(inputs["data"], dataset=spec["dataset"], split=spec["split"])
        model, classes = evaluated_model(spec, inputs, prompts=class_texts(spec["prompts"], split))
        first, last = spec["images"]
        part = replace(split, labels=split.labels[first:last], indices=split.indices[first:last])
        return cls(model, classes, Images.of(part, device, hold=False), part.indices)


def evaluated_model(
    spec: dict[str, Any], inputs: dict[str, Path], *, prompts: list[str] | None
) -> tuple[Classifier, int]:
    """Return the model that the specification describes, and its number of classes.

    The model comes from one checkpoint, or a derivation makes it from several. With `prompts` the classes are these
    texts, and the head of the checkpoint `texts` reads them: so a model with a text tower is evaluated on another data
    set.
    """
    roles = sorted((role for role in inputs if role.startswith("checkpoint")), key=lambda role: (len(role), role))
    loaded = [load_classifier(inputs[role]) for role in roles]
    model = derived([model for model, _ in loaded], spec["derivation"])
    if prompts is None:
        return model, loaded[0][1]["classes"]
    reader, _ = load_classifier(inputs["texts"], prompts=prompts)
    model.head = model.head.retargeted(reader.head)  # type: ignore[operator]
    return model, len(prompts)
