"""The `weights` step: convert a published file of pre-trained weights to a checkpoint like those of training."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from robustft.errors import IntegrityError, RobustftError
from robustft.files import sha256_file
from robustft.models.checkpoint import load_strict, save_checkpoint
from robustft.models.classifier import Normalise, build_classifier
from robustft.models.pretrained.checkpoint_formats import Tensors
from robustft.models.pretrained.safe_pickle import reading
from robustft.runtime.components import locate
from robustft.runtime.context import Context
from robustft.runtime.sandbox.call import Limits, call
from robustft.runtime.sandbox.decoding import decoding

NO_CLASSES = [""]
"""The prompts of a text head before a data set gives it classes: one empty text."""


def convert(spec: dict[str, Any], context: Context) -> None:
    """Read a published file and write it as a checkpoint, in float32.

    Args:
        spec: {weights: {name, reader, parameters, licence; package_file, sha256}, backbone, shape, classes}.
            `reader` is a function of robustft.models.pretrained. `classes` 0: the file's head is not used.
            `package_file`: a file of an installed package.
        context: input `file`, which the download step hashed, unless it is a package file; output `checkpoint`.

    Raises:
        IntegrityError: the file has another hash, cannot be read safely, or does not fit the backbone.
        RobustftError: the package of the file is not installed.
    """
    weights, backbone = spec["weights"], spec["backbone"]
    path = _file(weights, context)
    tensors = _read(path, weights, context)
    _add_normalisation(tensors, backbone, where=path)
    prompts, classes = spec.get("prompts"), spec["classes"]
    if prompts is None and _reads_texts(backbone):
        prompts, classes = NO_CLASSES, len(NO_CLASSES)
    with torch.device("meta"):
        model = build_classifier(backbone, shape=spec["shape"], classes=classes, prompts=prompts)
    model.to_empty(device="cpu")  # no random weights, as all are loaded
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


def _read(path: Path, weights: dict[str, Any], context: Context) -> Tensors:
    """Return the tensors of a file, read in a confined process, which brings them as safetensors."""
    with tempfile.TemporaryDirectory(dir=context.scratch) as folder:  # safetensors writes beside a file and renames
        size, brought = path.stat().st_size, Path(folder, "tensors.safetensors")
        _, context.facts["confined"] = call(
            write_tensors,
            {
                **{"reader": weights["reader"], "parameters": weights.get("parameters", {})},
                **{"path": os.fspath(path), "output": os.fspath(brought)},
            },
            reads=[path],
            writes=[Path(folder)],
            # A file is read, renamed and written: three copies, and as much again in float32 where it has halves.
            limits=Limits(
                memory_bytes=(2 << 30) + 6 * size, file_bytes=(1 << 28) + 4 * size, cpu_s=600 + size // 100_000
            ),
            scratch=context.scratch,
            log=context.log,
        )
        with decoding("the tensors that were read cannot be loaded", where=path):
            return load_file(brought)


def write_tensors(
    reader: str, parameters: dict[str, Any], path: str, output: str, *, log: Callable[[str], None]
) -> None:
    """Read a file with `reader` (`module:function`) and write its tensors as safetensors."""
    with reading(Path(path)):
        tensors = locate(reader)(Path(path), **parameters)
        save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, output)


def _file(weights: dict[str, Any], context: Context) -> Path:
    """Return the file of weights: downloaded, of this machine, or of an installed package."""
    if "file" in context.inputs:
        return context.inputs["file"]
    if "path" not in context.settings:
        return package_file(weights)
    path = Path(context.settings["path"])
    observed = sha256_file(path) if path.is_file() else "no such file"
    if observed != weights["sha256"]:
        raise IntegrityError(
            f"the weights '{weights['name']}' have changed since this run was planned",
            where=path,
            expected=weights["sha256"],
            observed=observed,
            next_step="start the run again: it plans with the file that is there",
        )
    return path


def package_file(weights: dict[str, Any]) -> Path:
    """Return the path of a file of an installed package, without importing the package.

    Raises RobustftError if the package is not installed, and IntegrityError if the file has another hash.
    """
    package, *rest = Path(weights["package_file"]).parts
    module = importlib.util.find_spec(package)
    if module is None or module.origin is None:
        raise RobustftError(
            f"the package '{package}' that ships the weights '{weights['name']}' is not installed",
            next_step="install the packages of envs/run.txt (make install)",
        )
    path = Path(module.origin).parent.joinpath(*rest)
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


def _add_normalisation(tensors: dict[str, Tensor], backbone: dict[str, Any], *, where: Path) -> None:
    """Add the backbone's normalisation to the tensors. Raises IntegrityError if the file has another one."""
    for name, expected in Normalise(**backbone["normalisation"]).state_dict().items():
        observed = tensors.setdefault(f"normalise.{name}", expected)
        if observed.numel() != expected.numel() or not torch.allclose(
            observed.float().flatten(), expected.flatten(), rtol=0, atol=1e-6
        ):
            raise IntegrityError(
                f"the weights were trained with another {name} of the images",
                where=where,
                expected=f"{expected.flatten().tolist()} (config/backbones.yaml, '{backbone.get('name')}')",
                observed=observed.flatten().tolist(),
            )
        tensors[f"normalise.{name}"] = expected


def _reads_texts(backbone: dict[str, Any]) -> bool:
    head = backbone.get("head")
    return head is not None and getattr(locate(head["implementation"]), "transfers", False)
