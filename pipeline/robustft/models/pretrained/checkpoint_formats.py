"""Readers for published files of pre-trained weights, one for each layout. `vit_formats` has those of ViTs.

A reader returns tensors under the names of `robustft.models.classifier.Classifier`: backbone.*, head.*, and
normalise.* where the file holds it. A reader names each key that it leaves out, in its docstring or its parameters.
An unknown key is an error. A missing key is an error when the model is loaded. Files are hashed before they are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustft.errors import IntegrityError
from robustft.models.pretrained.safe_pickle import read_pickle, read_torchscript

Tensors = dict[str, Tensor]


def robust_imagenet(path: Path) -> Tensors:
    """Read a ResNet of Salman et al. (NeurIPS 2020, Do Adversarially Robust ImageNet Models Transfer Better?).

    The `robustness` library writes a dictionary with the state under `model` or `state_dict`: `module.model.*` is
    torchvision's ResNet, `module.normalizer.new_mean` and `new_std` are the normalisation. Left out are
    `module.attacker.*`, a copy of both that must be equal, and all entries beside the state (optimiser, epoch,
    options), of which no code is run.
    """
    content = read_pickle(path, inert=True)
    state = state_dict_in(content, ("model", "state_dict"), where=path)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    attacker = {name.removeprefix("attacker."): state.pop(name) for name in list(state) if name.startswith("attacker.")}
    attacker = {name.replace("normalize.", "normalizer.", 1): tensor for name, tensor in attacker.items()}
    different = [name for name, copy in attacker.items() if name not in state or not torch.equal(state[name], copy)]
    if different:
        raise IntegrityError(
            "the file's copy of the network for attacks differs from the network",
            where=path,
            expected="equal tensors",
            observed=sorted(different)[:5],
        )

    def rename(name: str) -> str | None:
        if name in ("normalizer.new_mean", "normalizer.new_std"):
            return f"normalise.{name.removeprefix('normalizer.new_')}"
        if not name.startswith("model."):
            return None
        name = name.removeprefix("model.")
        return f"head.{name.removeprefix('fc.')}" if name.startswith("fc.") else f"backbone.{name}"

    tensors = renamed(state, rename, where=path)
    for name in ("normalise.mean", "normalise.std"):
        if name in tensors:
            tensors[name] = tensors[name].reshape(1, -1, 1, 1)
    return tensors


CLIP_EXTRAS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""Entries of OpenAI's archives that are left out: sizes of images, texts and vocabulary, and the causal mask."""


def openai_clip(path: Path) -> Tensors:
    """Read a CLIP of OpenAI with a vision transformer: a TorchScript archive, mostly float16.

    `visual.*` is the image tower, `logit_scale` the scale, and all else the text tower.
    """
    archive = read_torchscript(path)
    state = {name: tensor for name, tensor in archive.items() if name.split(".")[-1] not in CLIP_EXTRAS}

    def rename(name: str) -> str:
        if name.startswith("visual."):
            return f"backbone.tower.{name.removeprefix('visual.')}"
        return "head.logit_scale" if name == "logit_scale" else f"head.tower.{name}"

    return renamed(state, rename, where=path)


def cifar_resnet(path: Path) -> Tensors:
    """Read a state dict of the CIFAR ResNet that AutoAttack's examples use, of basic blocks.

    `conv1` and `bn1` are the stem, `layerS.B` the blocks by stage, `linear` the head.
    """
    return _cifar(state_dict_in(read_pickle(path), (), where=path), where=path)


def he_resnet(path: Path) -> Tensors:
    """Read a ResNet for CIFAR-10 of github akamaster/pytorch_resnet_cifar10, saved inside DataParallel.

    The names are those of `cifar_resnet` after `module.`, under `state_dict`. Left out is `best_prec1`, the best test
    accuracy of the training. The torch that saved them did not count the batches that a batch norm saw: the counts,
    which no evaluation uses, are 0.
    """
    state = state_dict_in(read_pickle(path), ("state_dict",), where=path)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    norms = [name.removesuffix("running_mean") for name in state if name.endswith(".running_mean")]
    return _cifar({**{f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}, **state}, where=path)


def _cifar(state: Tensors, *, where: Path) -> Tensors:
    names = {match[0] for name in state if (match := re.match(r"layer\d+\.\d+", name))}
    blocks = sorted(names, key=lambda block: [int(number) for number in re.findall(r"\d+", block)])
    parts = {"conv1": "backbone.stem.0", "bn1": "backbone.stem.1", "linear": "head"}
    parts |= {block: f"backbone.stages.{number}" for number, block in enumerate(blocks)}

    def rename(name: str) -> str | None:
        old = next((part for part in parts if name.startswith(f"{part}.")), None)
        return None if old is None else parts[old] + name[len(old) :]

    return renamed(state, rename, where=where)


def state_dict_in(content: Any, under: Sequence[str], *, where: Path) -> Tensors:
    """Return the state dict of a file's content: the content itself, or its value under one of the keys.

    Raises IntegrityError if it holds anything but tensors by name.
    """
    for key in under:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    items = content.items() if isinstance(content, Mapping) else [(None, content)]
    other_types = {
        type(value).__name__ for name, value in items if not (isinstance(name, str) and isinstance(value, Tensor))
    }
    if other_types or not content:
        raise IntegrityError(
            "the file holds no state dict",
            where=where,
            expected="tensors by name" + (f", under {' or '.join(under)}" if under else ""),
            observed=sorted(other_types) or "nothing",
        )
    return dict(content)


def renamed(state: Tensors, rename: Callable[[str], str | None], *, where: Path) -> Tensors:
    """Rename all tensors. Raises IntegrityError if a tensor has no new name, or two have the same one."""
    unknown = sorted(name for name in state if rename(name) is None)
    tensors = {str(rename(name)): tensor for name, tensor in state.items()}
    if unknown or len(tensors) < len(state):
        raise IntegrityError(
            "the file holds tensors that its format does not have",
            where=where,
            observed=f"unexpected: {unknown[:5] or 'the same one twice'}",
            next_step="use the reader of the file's format (config/weights.yaml)",
        )
    return tensors
