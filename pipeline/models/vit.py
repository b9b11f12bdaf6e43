"""Vision transformers: timm's network and attribute names, so that its weights load, without its head.

Importing any part of timm imports all of it. After torch that takes 2 s, of which torch's compiler (through
torchvision) is 1.4 s and the other models of timm are 0.4 s; an optimiser imports the compiler too.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class ViT(VisionTransformer):
    """Images (n, C, H, W) -> the class token after the final norm, (n, width) (Dosovitskiy et al., ICLR 2021).

    `forward` is timm's: norm(blocks(embed(x)))[:, 0]. Pre-norm blocks, learnt position embeddings for the class token
    and each patch, no dropout.

    Args:
        channels: of the input images.
        image_size: height and width of the images in pixels; a multiple of `patch_size`.
        patch_size: height and width of a patch in pixels.
        width: D, of a token; a multiple of `heads`.
        depth: number of blocks.
        heads: of the attention in each block.
        mlp_ratio: hidden width of each feed-forward part over `width`.
        qkv_bias: whether queries, keys and values have a bias.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int,
        patch_size: int,
        width: int,
        depth: int,
        heads: int,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__(
            img_size=image_size,
            patch_size=patch_size,
            in_chans=channels,
            num_classes=0,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
        )
        self.out_features = width

    def embed(self, x: Tensor) -> Tensor:
        """Return the tokens that enter the first block, (n, 1 + patches, width), the class token first."""
        tokens: Tensor = self.norm_pre(self.patch_drop(self._pos_embed(self.patch_embed(x))))
        return tokens


def smaller_patches(kernel: Tensor, size: int) -> Tensor:
    """Return a patch kernel (D, C, P, P) for patches of size x size, by summing each (P/size) x (P/size) sub-block.

    The new kernel answers to a patch as the old one does to that patch enlarged P/size times by repeating pixels
    (Mo et al., NeurIPS 2022, released code: 16 to 4).
    """
    width, channels, height, side = kernel.shape
    if height != side or side % size:
        raise ValueError(f"a kernel of {height} x {side} cannot be cut to {size} x {size}")
    return kernel.reshape(width, channels, size, side // size, size, side // size).sum(dim=(3, 5))


def resized_positions(positions: Tensor, grid: int) -> Tensor:
    """Return position embeddings (1, 1 + grid^2, D) from those of another square grid, (1, 1 + g^2, D).

    The class token keeps its own; the patches' are interpolated bilinearly, corners not aligned.
    """
    token, patches = positions[:, :1], positions[:, 1:]
    side = math.isqrt(patches.shape[1])
    old = patches.transpose(1, 2).reshape(1, -1, side, side)
    new = F.interpolate(old, size=(grid, grid), mode="bilinear", align_corners=False)
    return torch.cat([token, new.flatten(2).transpose(1, 2)], dim=1)


class Head(nn.Linear):
    """A fresh classification head as timm starts it: weights of deviation 0.02 and no bias.

    Logits then start near zero. From torch's own start some seeds give a loss several times that of guessing, which
    adversarial training answers by guessing for good.
    """

    def __init__(self, in_features: int, *, classes: int, prompts: list[str] | None = None) -> None:
        super().__init__(in_features, classes)
        nn.init.trunc_normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)
