"""Checkpoints: tensors in safetensors, and in the same file the JSON that says what they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from robustft.errors import IntegrityError
from robustft.files import atomic_path, canonical_json
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.tunings.protocol import build_tuning


def save_checkpoint(path: Path, model: Classifier, *, about: dict[str, Any]) -> None:
    """Write a model's weights and `about` (its backbone, shape and classes among it) atomically."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as part:
        # One metadata key only: the format writes several in an order of its own, and bytes must repeat.
        save_file(tensors, part, metadata={"robustft": canonical_json(about)})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and what they are. Raises IntegrityError for a truncated or foreign file."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["robustft"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (not a mapping)
    except (SafetensorError, KeyError, TypeError, OSError, ValueError) as error:
        raise IntegrityError(
            "the checkpoint cannot be read",
            where=path,
            observed=f"{type(error).__name__}: {error}",
            next_step="if a step of the workflow made it, delete it and run snakemake: it will be made again",
        ) from error


def load_strict(
    model: Classifier, tensors: dict[str, Tensor], *, where: Path | None, parts: Sequence[str] = ()
) -> None:
    """Load every tensor into the model, or raise IntegrityError naming what is missing, extra or of another shape.

    With `parts`, prefixes such as [backbone, normalise], the other tensors are left out on both sides, and nothing
    else is: weights that silently do not arrive are the classic defect of fine-tuning code. A part that neither side
    has is an error too.
    """

    def chosen(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: v for k, v in state.items() if not parts or any(f"{k}.".startswith(f"{part}.") for part in parts)}

    wanted, tensors = chosen(model.state_dict()), chosen(tensors)
    missing, extra = sorted(set(wanted) - set(tensors)), sorted(set(tensors) - set(wanted))
    absent = [part for part in parts if not any(f"{name}.".startswith(f"{part}.") for name in wanted)]
    misfit = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(tensors))
        if wanted[name].shape != tensors[name].shape
    ]
    if missing or extra or misfit or absent:
        raise IntegrityError(
            "the checkpoint does not fit the model",
            where=where,
            expected=f"missing: {missing[:5] or absent or 'none'}; shapes: {misfit[:3] or 'equal'}",
            observed=f"unexpected: {extra[:5] or 'none'}",
            next_step="use weights of the same backbone",
        )
    model.load_state_dict(tensors, strict=not parts)


def load_classifier(path: Path, *, prompts: list[str] | None = None) -> tuple[Classifier, dict[str, Any]]:
    """Build the model that a checkpoint describes, with what its tuning attached, and load all of it.

    With `prompts`, a head that reads class texts is built on these instead of those it was saved with.
    """
    tensors, about = read_checkpoint(path)
    texts = prompts or about.get("prompts")
    classes = about["classes"] if texts is None else len(texts)
    model = build_classifier(about["backbone"], shape=about["shape"], classes=classes, prompts=texts)
    if about.get("tuning") is not None:
        model = build_tuning(about["tuning"]).prepare(model)
    load_strict(model, tensors, where=path)
    return model, about
