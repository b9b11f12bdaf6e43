"""Vision transformers without a head: timm's network and names, so that timm's weights load.

Importing any part of timm imports all of it. After torch that takes 2 s, of which torch's compiler (through
torchvision) is 1.4 s and the other models of timm are 0.4 s; an optimiser imports the compiler too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from robustft.speed.optimizations import Optimizable
from robustft.speed.tokens import KEYS_AND_VALUES, QUERIES, applied, hooked, in_full, in_heads, one, patches, thirds


class ViT(Optimizable, VisionTransformer):
    """Images (n, C, H, W) -> the class token after the final norm, (n, width) (Dosovitskiy et al., ICLR 2021).

    `forward` is timm's: norm(blocks(embed(x)))[:, 0]. Pre-norm blocks, learnt position embeddings for the class token
    and each patch, no dropout. The optimization `needed_tokens` computes the same with less work: only the class
    token of the last block.

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
        if self.optimizations.needed_tokens and not hooked(self.patch_embed):
            patch_tokens = self.patch_embed.norm(patches(x, self.patch_embed.proj))
        else:
            patch_tokens = self.patch_embed(x)
        tokens: Tensor = self.norm_pre(self.patch_drop(self._pos_embed(patch_tokens)))
        return tokens

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Map images to features. A mask is passed on to timm."""
        if not self.optimizations.needed_tokens or attn_mask is not None or is_causal:
            features: Tensor = super().forward(x, attn_mask=attn_mask, is_causal=is_causal)
            return features
        tokens, last = self.embed(x), len(self.blocks) - 1
        for number, block in enumerate(self.blocks):
            tokens = apply_block(block, tokens, only=0 if number == last else None)
        return self.read(tokens)

    def read(self, token: Tensor) -> Tensor:
        """Return the features (n, width) of the class token (n, 1, width) after the last block."""
        features: Tensor = self.forward_head(self.norm(token))
        return features


def apply_block(block: Any, tokens: Tensor, *, prompts: Tensor | None = None, only: int | None = None) -> Tensor:
    """Apply a block of `ViT` to tokens (n, T, D) and return (n, T, D), or (n, 1, D) with `only`.

    Args:
        block: timm's block, whose `forward` computes the same. Its linear layers may be wrapped, by LoRA for example. A
            block with hooks, or with an option that needs all tokens, is called as a whole.
        tokens: the input of the block.
        prompts: further tokens (1, L, D) before the others, the same for all images. Their keys and values are computed
            once for all images, their output is not.
        only: position of the single token that is computed; of the others only keys and values are.
    """
    if not _can_be_cut(block):
        return in_full(block, tokens, prompts=prompts, only=only)
    attn, normed = block.attn, block.norm1(tokens)
    if prompts is None and only is None:
        q, k, v = in_heads(attn.qkv(normed), attn.num_heads, 3)
    else:
        keys_values = _projected(attn.qkv, normed, KEYS_AND_VALUES)
        if prompts is not None:
            of_prompts = _projected(attn.qkv, block.norm1(prompts), KEYS_AND_VALUES)
            keys_values = torch.cat([of_prompts.expand(len(keys_values), -1, -1), keys_values], dim=1)
        k, v = in_heads(keys_values, attn.num_heads, 2)
        if only is not None:
            normed, tokens = one(normed, only), one(tokens, only)
        (q,) = in_heads(_projected(attn.qkv, normed, QUERIES), attn.num_heads, 1)
    attended = F.scaled_dot_product_attention(applied(q, attn.q_norm), applied(k, attn.k_norm), v)
    attended = applied(attended.transpose(1, 2).flatten(2), attn.norm, attn.proj, attn.proj_drop)
    tokens = tokens + applied(attended, block.ls1, block.drop_path1)
    mlp, normed = block.mlp, block.norm2(tokens)
    hidden = applied(normed, mlp.fc1, mlp.act, mlp.drop1, mlp.norm, mlp.fc2, mlp.drop2)
    return tokens + applied(hidden, block.ls2, block.drop_path2)


def _can_be_cut(block: Any) -> bool:
    """Tell whether a block can be computed for some tokens alone, with the numbers of its `forward`."""
    attn = block.attn
    if type(block) is not Block or type(attn) is not Attention or attn.gate is not None:
        return False
    drops = attn.attn_drop.p or attn.proj_drop.p  # dropout would draw other masks
    return not drops and not hooked(block, attn, block.mlp)


def _projected(qkv: nn.Module, tokens: Tensor, which: slice) -> Tensor:
    """Return some thirds of the output of a layer of queries, keys and values; a wrapped layer computes all three."""
    if type(qkv) is nn.Linear and not hooked(qkv):
        return thirds(qkv.weight, qkv.bias, tokens, which)
    output: Tensor = qkv(tokens)
    size = output.shape[-1] // 3
    return output[..., which.start * size : which.stop * size]


class Head(nn.Linear):
    """A linear head with timm's initial values: weights of standard deviation 0.02, bias 0.

    The first logits are near zero. With torch's initial values some seeds have a first loss several times that of
    guessing, and adversarial training then ends at a constant prediction.
    """

    def __init__(self, in_features: int, *, classes: int, prompts: list[str] | None = None) -> None:
        super().__init__(in_features, classes)
        nn.init.trunc_normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)
