"""Published layouts of pre-trained weights: a reader for each.

A reader returns tensors under the names of our `Classifier` (backbone.*, head.*, and normalise.* where the file holds
it). Every key that it leaves out is named, here or by its parameters; one that it does not know is an error, and one
that is missing becomes an error when the model is loaded. Files are hashed before they come here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from robustft.errors import IntegrityError
from robustft.models.backbones.vit import resized_positions, smaller_patches
from robustft.models.pretrained.safe_pickle import BROKEN, read_pickle, read_torchscript, unreadable

Tensors = dict[str, Tensor]


def robust_imagenet(path: Path) -> Tensors:
    """Read a ResNet of Salman et al. (NeurIPS 2020, Do Adversarially Robust ImageNet Models Transfer Better?).

    A dictionary with the state under `model` or `state_dict`, written by the `robustness` library inside
    DataParallel: `module.model.*` is torchvision's ResNet, `module.normalizer.new_mean` and `new_std` the
    normalisation. Left out: `module.attacker.*`, a copy of both, which must be equal; and everything beside the state
    (optimiser, epoch, options), of which nothing is run.
    """
    content = read_pickle(path, inert=True)
    state = _state(content, ("model", "state_dict"), where=path)
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    attacker = {name.removeprefix("attacker."): state.pop(name) for name in list(state) if name.startswith("attacker.")}
    attacker = {name.replace("normalize.", "normalizer.", 1): tensor for name, tensor in attacker.items()}
    differing = [name for name, copy in attacker.items() if name not in state or not torch.equal(state[name], copy)]
    if differing:
        raise IntegrityError(
            "the copy of the network that the file keeps for its attacks differs from the network",
            where=path,
            expected="equal tensors",
            observed=sorted(differing)[:5],
        )

    def rename(name: str) -> str | None:
        if name in ("normalizer.new_mean", "normalizer.new_std"):
            return f"normalise.{name.removeprefix('normalizer.new_')}"
        if not name.startswith("model."):
            return None
        name = name.removeprefix("model.")
        return f"head.{name.removeprefix('fc.')}" if name.startswith("fc.") else f"backbone.{name}"

    tensors = _renamed(state, rename, where=path)
    for name in ("normalise.mean", "normalise.std"):
        if name in tensors:
            tensors[name] = tensors[name].reshape(1, -1, 1, 1)
    return tensors


CLIP_EXTRAS = ("input_resolution", "context_length", "vocab_size", "attn_mask")
"""What OpenAI's archives keep beside the weights: how many pixels, tokens and words, and the causal mask. Left out."""


def openai_clip(path: Path) -> Tensors:
    """Read a CLIP of OpenAI with a vision transformer: a TorchScript archive, mostly float16.

    `visual.*` is the image tower; the rest, but for the logit scale, the text tower.
    """
    archive = read_torchscript(path)
    state = {name: tensor for name, tensor in archive.items() if name.split(".")[-1] not in CLIP_EXTRAS}

    def rename(name: str) -> str:
        if name.startswith("visual."):
            return f"backbone.tower.{name.removeprefix('visual.')}"
        return "head.logit_scale" if name == "logit_scale" else f"head.tower.{name}"

    return _renamed(state, rename, where=path)


def cifar_resnet(path: Path) -> Tensors:
    """Read a state dict of the CIFAR ResNet that AutoAttack's examples use, of basic blocks.

    `conv1` and `bn1` are the stem, `layerS.B` the blocks by stage, `linear` the head.
    """
    state = _state(read_pickle(path), (), where=path)
    found = {match[0] for name in state if (match := re.match(r"layer\d+\.\d+", name))}
    blocks = sorted(found, key=lambda block: [int(number) for number in re.findall(r"\d+", block)])
    moved = {"conv1": "backbone.stem.0", "bn1": "backbone.stem.1", "linear": "head"}
    moved |= {block: f"backbone.stages.{number}" for number, block in enumerate(blocks)}

    def rename(name: str) -> str | None:
        old = next((part for part in moved if name.startswith(f"{part}.")), None)
        return None if old is None else moved[old] + name[len(old) :]

    return _renamed(state, rename, where=path)


def vit(path: Path, *, drop: Sequence[str] = (), patch_size: int | None = None, grid: int | None = None) -> Tensors:
    """Read a vision transformer under timm's names: a state dict (DeiT's under `model`), pickled or safetensors.

    Args:
        path: of the file.
        drop: parts that are left out, such as [head, pre_logits]; each must be there.
        patch_size: sum the patch kernel down to patches of this size (`smaller_patches`).
        grid: resize the position embeddings to this many patches a side (`resized_positions`).
    """
    content = _safetensors(path) if _starts_as_safetensors(path) else read_pickle(path)
    return _vit(_state(content, ("model",), where=path), drop=drop, patch_size=patch_size, grid=grid, where=path)


def vit_flax(
    path: Path, *, drop: Sequence[str] = (), patch_size: int | None = None, grid: int | None = None
) -> Tensors:
    """Read a vision transformer of Google's `vision_transformer` repository: arrays in an npz, such as AugReg's.

    Kernels are (inputs, outputs), attention's split by head, the patch kernel (P, P, C, D). Parameters as of `vit`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: torch.from_numpy(archive[name]) for name in archive.files}
    except BROKEN as error:
        raise unreadable(path, error) from error
    return _vit(_from_flax(arrays, where=path), drop=drop, patch_size=patch_size, grid=grid, where=path)


def _starts_as_safetensors(path: Path) -> bool:
    """Tell whether a header in JSON follows its length; neither a zip nor a pickle has a brace there."""
    try:
        with path.open("rb") as stream:
            return stream.read(9)[8:] == b"{"
    except OSError as error:
        raise unreadable(path, error) from error


def _safetensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (SafetensorError, *BROKEN) as error:
        raise unreadable(path, error) from error


def _state(content: Any, under: Sequence[str], *, where: Path) -> Tensors:
    """Return the state dict in what a file holds, itself or under one of some keys; nothing in it is left out."""
    for key in under:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    items = content.items() if isinstance(content, Mapping) else [(None, content)]
    strangers = {
        type(value).__name__ for name, value in items if not (isinstance(name, str) and isinstance(value, Tensor))
    }
    if strangers or not content:
        raise IntegrityError(
            "the file holds no state of a network",
            where=where,
            expected="tensors by name" + (f", under {' or '.join(under)}" if under else ""),
            observed=sorted(strangers) or "nothing",
        )
    return dict(content)


def _renamed(state: Tensors, rename: Callable[[str], str | None], *, where: Path) -> Tensors:
    """Give every tensor our name. Raises IntegrityError for names that have none, and for two that become one."""
    unknown = sorted(name for name in state if rename(name) is None)
    renamed = {str(rename(name)): tensor for name, tensor in state.items()}
    if unknown or len(renamed) < len(state):
        raise IntegrityError(
            "the file holds tensors that its layout does not have",
            where=where,
            observed=f"unexpected: {unknown[:5] or 'the same one twice'}",
            next_step="use the reader of the file's own layout (config/weights.yaml)",
        )
    return renamed


def _vit(state: Tensors, *, drop: Sequence[str], patch_size: int | None, grid: int | None, where: Path) -> Tensors:
    """Drop parts, fit patches and positions to smaller images, and name what is left."""
    for part in drop:
        kept = {name: tensor for name, tensor in state.items() if not f"{name}.".startswith(f"{part}.")}
        if len(kept) == len(state):
            raise IntegrityError(f"the file has no part '{part}' to leave out", where=where, observed=sorted(state)[:5])
        state = kept
    try:
        if patch_size is not None:
            state["patch_embed.proj.weight"] = smaller_patches(state["patch_embed.proj.weight"], patch_size)
        if grid is not None:
            state["pos_embed"] = resized_positions(state["pos_embed"], grid)
    except (KeyError, ValueError, RuntimeError) as error:
        raise IntegrityError("the patches or positions cannot be resized", where=where, observed=error) from error
    return _renamed(state, lambda name: name if name.startswith("head.") else f"backbone.{name}", where=where)


FLAX = {
    "cls": "cls_token",
    "embedding/kernel": "patch_embed.proj.weight",
    "embedding/bias": "patch_embed.proj.bias",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "Transformer/encoder_norm/scale": "norm.weight",
    "Transformer/encoder_norm/bias": "norm.bias",
    "head/kernel": "head.weight",
    "head/bias": "head.bias",
    "pre_logits/kernel": "pre_logits.fc.weight",
    "pre_logits/bias": "pre_logits.fc.bias",
}
FLAX_BLOCK = {
    "LayerNorm_0/scale": "norm1.weight",
    "LayerNorm_0/bias": "norm1.bias",
    "LayerNorm_2/scale": "norm2.weight",
    "LayerNorm_2/bias": "norm2.bias",
    "MlpBlock_3/Dense_0/kernel": "mlp.fc1.weight",
    "MlpBlock_3/Dense_0/bias": "mlp.fc1.bias",
    "MlpBlock_3/Dense_1/kernel": "mlp.fc2.weight",
    "MlpBlock_3/Dense_1/bias": "mlp.fc2.bias",
    "MultiHeadDotProductAttention_1/out/kernel": "attn.proj.weight",
    "MultiHeadDotProductAttention_1/out/bias": "attn.proj.bias",
}
"""Google's names and timm's, outside of the blocks and in one; queries, keys and values are joined apart."""


def _from_flax(arrays: Tensors, *, where: Path) -> Tensors:
    """Return arrays of Google's repository under timm's names and in its layout."""
    state, parts = {}, dict[str, Tensor]()
    for name, array in arrays.items():
        block = re.fullmatch(r"Transformer/encoderblock_(\d+)/(.+)", name)
        attention = (
            re.fullmatch(r"MultiHeadDotProductAttention_1/(query|key|value)/(kernel|bias)", block[2]) if block else None
        )
        if block and attention:
            kind = "weight" if attention[2] == "kernel" else "bias"
            flat = array.flatten(1).T if kind == "weight" else array.flatten()
            parts[f"blocks.{block[1]}.attn.qkv.{kind}/{attention[1]}"] = flat
        elif block and block[2] in FLAX_BLOCK:
            state[f"blocks.{block[1]}.{FLAX_BLOCK[block[2]]}"] = _transposed(name, array)
        elif name in FLAX:
            state[FLAX[name]] = _transposed(name, array)
        else:
            state[name] = array
    for whole in dict.fromkeys(name.split("/")[0] for name in parts):
        thirds = [parts.get(f"{whole}/{third}") for third in ("query", "key", "value")]
        if any(third is None for third in thirds):
            raise IntegrityError("a block has not all of query, key and value", where=where, observed=f"in {whole}")
        state[whole] = torch.cat([third for third in thirds if third is not None])
    return state


def _transposed(name: str, array: Tensor) -> Tensor:
    """Turn a kernel's axes from inputs before outputs to outputs before inputs; leave anything else as it is."""
    if not name.endswith("/kernel"):
        return array
    if array.ndim == 4:  # patches: (P, P, C, D) -> (D, C, P, P)
        return array.permute(3, 2, 0, 1)
    return array.flatten(0, -2).T  # attention's output: (heads, D / heads, D) -> (D, D)
