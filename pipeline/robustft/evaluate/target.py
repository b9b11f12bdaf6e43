"""The model that an evaluation judges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from robustft.models.checkpoint import load_classifier
from robustft.models.classifier import Classifier, derived


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
