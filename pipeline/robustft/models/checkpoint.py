"""Checkpoints: one safetensors file holds the weights and, as JSON, the description of the model that they fit."""

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
    """Write a model's weights and its description atomically. Equal weights and descriptions give equal bytes.

    Args:
        path: of the file.
        model: any classifier.
        about: the description: backbone, shape, classes, and optionally prompts and tuning, as `load_classifier` reads
            them; further entries are kept.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_path(path) as part:
        # One metadata key only: the format writes several in an order of its own, and bytes must repeat.
        save_file(tensors, part, metadata={"robustft": canonical_json(about)})


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights by name, on the CPU, and the description.

    Raises IntegrityError if the file is missing, truncated or not written by `save_checkpoint`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["robustft"])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (not a mapping)
    except FileNotFoundError as error:
        raise IntegrityError(
            "the checkpoint is missing",
            where=path,
            next_step="check the path, or run snakemake to make it",
        ) from error
    except (SafetensorError, KeyError, TypeError, OSError, ValueError) as error:
        raise IntegrityError(
            "the checkpoint cannot be read",
            where=path,
            expected="a whole safetensors file that robustft wrote",
            observed=f"{type(error).__name__}: {error}",
            next_step="if a step of the workflow made it, delete it and run snakemake: it will be made again",
        ) from error


def load_strict(
    model: Classifier, tensors: dict[str, Tensor], *, where: Path | None, parts: Sequence[str] = ()
) -> None:
    """Load all weights into the model, or raise IntegrityError and load none.

    Weights that do not arrive, without any error, are the classic defect of fine-tuning code.

    Args:
        model: receives the weights.
        tensors: the weights by name.
        where: the file of the weights, for the error.
        parts: prefixes such as [backbone, normalise]: all weights of these parts are loaded, and no others. All weights
            of the model if empty.

    Raises:
        IntegrityError: a weight is missing, unexpected or of another shape, or the model has no such part.
    """

    def of_parts(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {k: v for k, v in state.items() if not parts or any(f"{k}.".startswith(f"{part}.") for part in parts)}

    expected, tensors = of_parts(model.state_dict()), of_parts(tensors)
    missing, unexpected = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    absent = [part for part in parts if not any(f"{name}.".startswith(f"{part}.") for name in expected)]
    shapes = [
        f"{name} {tuple(tensors[name].shape)}, not {tuple(expected[name].shape)}"
        for name in sorted(set(expected) & set(tensors))
        if expected[name].shape != tensors[name].shape
    ]
    if missing or unexpected or shapes or absent:
        raise IntegrityError(
            "the checkpoint does not fit the model",
            where=where,
            expected=f"missing: {missing[:5] or absent or 'none'}; shapes: {shapes[:3] or 'equal'}",
            observed=f"unexpected: {unexpected[:5] or 'none'}",
            next_step="use weights of the same backbone",
        )
    model.load_state_dict(tensors, strict=not parts)


def load_classifier(path: Path, *, prompts: list[str] | None = None) -> tuple[Classifier, dict[str, Any]]:
    """Build the model that a checkpoint describes and load its weights.

    Args:
        path: of a file of `save_checkpoint`.
        prompts: one text for each class, for a head that reads texts. The texts of the checkpoint if not given.

    Returns:
        The model, on the CPU and in evaluation mode: images (n, C, H, W) in [0, 1] -> logits (n, K). And the
        description: backbone, shape (C, H, W), classes K and what else `save_checkpoint` was given.

    Raises:
        IntegrityError: the file is missing, truncated, of another origin, or does not fit its own description.
    """
    tensors, about = read_checkpoint(path)
    texts = prompts or about.get("prompts")
    try:
        backbone, shape, classes = about["backbone"], about["shape"], about["classes"]
    except (KeyError, TypeError) as error:
        raise IntegrityError(
            "the checkpoint does not describe its model",
            where=path,
            expected="backbone, shape and classes",
            observed=sorted(about) if isinstance(about, dict) else type(about).__name__,
            next_step="use a checkpoint that robustft wrote",
        ) from error
    model = build_classifier(backbone, shape=shape, classes=classes if texts is None else len(texts), prompts=texts)
    if about.get("tuning") is not None:
        model = build_tuning(about["tuning"]).prepare(model)
    load_strict(model, tensors, where=path)
    return model.eval(), about
