"""The `weights` step: from a published file of pre-trained weights to a checkpoint as our own training writes them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustft.errors import IntegrityError, RobustftError
from robustft.files import sha256_file
from robustft.models.checkpoint import load_strict, save_checkpoint
from robustft.models.classifier import Normalise, build_classifier
from robustft.runtime.components import locate
from robustft.runtime.context import Context

NO_CLASSES = [""]
"""The texts of a head that reads texts until a data set gives it classes: one, and empty."""


def convert(spec: dict[str, Any], context: Context) -> None:
    """Read a published file and write it as a checkpoint, in float32.

    Args:
        spec: {weights: {name, reader, parameters, licence; package_file, sha256}, backbone, shape, classes}.
            `reader` is a function of robustft.models.pretrained. `classes` 0: the file's head is not used.
            `package_file`: the file is one of an installed package.
        context: input `file`, hashed when it was downloaded, unless it is one of a package; output `checkpoint`.

    Raises:
        IntegrityError: the file is not the one on record, cannot be read safely, or does not fit the backbone.
    """
    weights, backbone = spec["weights"], spec["backbone"]
    path = context.inputs["file"] if "file" in context.inputs else package_file(weights)
    tensors = locate(weights["reader"])(path, **weights.get("parameters", {}))
    _normalised_alike(tensors, backbone, where=path)
    prompts, classes = spec.get("prompts"), spec["classes"]
    if prompts is None and _reads_texts(backbone):
        prompts, classes = NO_CLASSES, len(NO_CLASSES)
    with torch.device("meta"):
        model = build_classifier(backbone, shape=spec["shape"], classes=classes, prompts=prompts)
    model.to_empty(device="cpu")  # nothing is drawn that would only be overwritten
    if not classes:
        tensors = {f"head.{name}": tensor for name, tensor in model.head.state_dict().items()} | tensors
    load_strict(model, tensors, where=path)
    about = {
        "backbone": backbone,
        "shape": spec["shape"],
        "classes": classes,
        "prompts": prompts,
        "tuning": None,
        **dict.fromkeys(("dataset", "method", "seed", "scale")),
        "weights": {"name": weights["name"], "licence": weights.get("licence")},
    }
    save_checkpoint(context.outputs["checkpoint"], model, about=about)
    context.facts["parameters"] = sum(parameter.numel() for parameter in model.parameters())


def package_file(weights: dict[str, Any]) -> Path:
    """Return the path of a file that an installed package ships, hashed; the package is not imported.

    Raises RobustftError if the package is not installed and IntegrityError if the file is not the one on record.
    """
    package, *rest = Path(weights["package_file"]).parts
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise RobustftError(
            f"the package '{package}' that ships the weights '{weights['name']}' is not installed",
            next_step="install the packages of envs/run.txt (make install)",
        )
    path = Path(found.origin).parent.joinpath(*rest)
    observed = sha256_file(path) if path.is_file() else "no such file"
    if observed != weights["sha256"]:
        raise IntegrityError(
            "the file of pre-trained weights is not the one on record",
            where=path,
            expected=weights["sha256"],
            observed=observed,
            next_step=f"install the locked {package} of envs/run.txt (make install)",
        )
    return path


def _normalised_alike(tensors: dict[str, Tensor], backbone: dict[str, Any], *, where: Path) -> None:
    """Add the backbone's normalisation, or check that the file was trained with it."""
    for name, ours in Normalise(**backbone["normalisation"]).state_dict().items():
        theirs = tensors.setdefault(f"normalise.{name}", ours)
        if theirs.numel() != ours.numel() or not torch.allclose(
            theirs.float().flatten(), ours.flatten(), rtol=0, atol=1e-6
        ):
            raise IntegrityError(
                f"the weights were trained with another {name} of their images",
                where=where,
                expected=f"{ours.flatten().tolist()} (config/backbones.yaml, '{backbone.get('name')}')",
                observed=theirs.flatten().tolist(),
            )
        tensors[f"normalise.{name}"] = ours


def _reads_texts(backbone: dict[str, Any]) -> bool:
    head = backbone.get("head")
    return head is not None and getattr(locate(head["implementation"]), "transfers", False)
