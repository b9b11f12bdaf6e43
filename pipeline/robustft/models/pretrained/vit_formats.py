"""Readers for published vision transformers: timm's names or Google's, for smaller patches and other grids."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from robustft.errors import IntegrityError
from robustft.models.pretrained.checkpoint_formats import Tensors, renamed, state_dict_in
from robustft.models.pretrained.safe_pickle import check_declared, read_pickle, reading


def vit(path: Path, *, drop: Sequence[str] = (), patch_size: int | None = None, grid: int | None = None) -> Tensors:
    """Read a vision transformer with timm's names: a state dict (DeiT's is under `model`), pickled or in safetensors.

    Args:
        path: of the file.
        drop: parts that are left out, such as [head, pre_logits]. The file must have each.
        patch_size: sum the patch kernel down to patches of this size (`smaller_patches`).
        grid: resize the position embeddings to this many patches a side (`resized_positions`).
    """
    content = _safetensors(path) if _starts_as_safetensors(path) else read_pickle(path)
    return _vit(state_dict_in(content, ("model",), where=path), drop=drop, patch_size=patch_size, grid=grid, where=path)


def vit_flax(
    path: Path, *, drop: Sequence[str] = (), patch_size: int | None = None, grid: int | None = None
) -> Tensors:
    """Read a vision transformer of Google's `vision_transformer` repository: arrays in an npz, such as AugReg's.

    Kernels are (inputs, outputs), those of attention are split by head, the patch kernel is (P, P, C, D). The
    parameters are those of `vit`.
    """
    with reading(path):
        check_declared(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: torch.from_numpy(archive[name]) for name in archive.files}
    return _vit(_from_flax(arrays, where=path), drop=drop, patch_size=patch_size, grid=grid, where=path)


def _starts_as_safetensors(path: Path) -> bool:
    """Tell whether a JSON header follows its length of 8 bytes. Neither a zip nor a pickle has a brace there."""
    with reading(path), path.open("rb") as stream:
        return stream.read(9)[8:] == b"{"


def _safetensors(path: Path) -> Tensors:
    with reading(path):
        return load_file(path)


def _vit(state: Tensors, *, drop: Sequence[str], patch_size: int | None, grid: int | None, where: Path) -> Tensors:
    """Leave out parts, fit patches and positions to other images, and rename the tensors."""
    for part in drop:
        rest = {name: tensor for name, tensor in state.items() if not f"{name}.".startswith(f"{part}.")}
        if len(rest) == len(state):
            raise IntegrityError(f"the file has no part '{part}' to leave out", where=where, observed=sorted(state)[:5])
        state = rest
    try:
        if patch_size is not None:
            state["patch_embed.proj.weight"] = smaller_patches(state["patch_embed.proj.weight"], patch_size)
        if grid is not None:
            state["pos_embed"] = resized_positions(state["pos_embed"], grid)
    except (KeyError, ValueError, RuntimeError) as error:
        raise IntegrityError("the patches or positions cannot be resized", where=where, observed=error) from error
    return renamed(state, lambda name: name if name.startswith("head.") else f"backbone.{name}", where=where)


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
"""timm's name of each of Google's names, outside of the blocks and in a block, but for queries, keys and values."""


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
    """Return a kernel with its outputs before its inputs; other arrays are returned as they are."""
    if not name.endswith("/kernel"):
        return array
    if array.ndim == 4:  # patches: (P, P, C, D) -> (D, C, P, P)
        return array.permute(3, 2, 0, 1)
    return array.flatten(0, -2).T  # attention's output: (heads, D / heads, D) -> (D, D)


def smaller_patches(kernel: Tensor, size: int) -> Tensor:
    """Return a patch kernel (D, C, size, size): the sums over each (P/size) x (P/size) sub-block of a (D, C, P, P) one.

    Its output for a patch is that of the old kernel for the patch enlarged P/size times by repeating pixels (Mo et al.,
    NeurIPS 2022, released code: 16 to 4). Raises ValueError if `size` does not divide P.
    """
    width, channels, height, side = kernel.shape
    if height != side or side % size:
        raise ValueError(f"a kernel of {height} x {side} cannot be reduced to {size} x {size}")
    return kernel.reshape(width, channels, size, side // size, size, side // size).sum(dim=(3, 5))


def resized_positions(positions: Tensor, grid: int) -> Tensor:
    """Return position embeddings (1, 1 + grid^2, D) from those of another square grid, (1, 1 + g^2, D).

    The embedding of the class token stays. Those of the patches are interpolated bilinearly, corners not aligned.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    side = math.isqrt(patches.shape[1])
    image = patches.transpose(1, 2).reshape(1, -1, side, side)
    resized = F.interpolate(image, size=(grid, grid), mode="bilinear", align_corners=False)
    return torch.cat([token, resized.flatten(2).transpose(1, 2)], dim=1)
