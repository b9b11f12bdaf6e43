"""CLIP's image tower as a backbone. The heads that read texts are in `robustft.models.text_heads`.

Radford et al. Learning Transferable Visual Models From Natural Language Supervision. ICML 2021. The tower and its
initialisation are open_clip's. OpenAI's weights fit it. It is F_theta in the paper of PMG-AFT.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.errors import ConfigError
from robustft.models.resizing import bicubic
from robustft.runtime.imports import import_without
from robustft.speed.optimizations import Optimizable
from robustft.speed.tokens import KEYS_AND_VALUES, QUERIES, applied, hooked, in_full, in_heads, one, patches, thirds

with import_without("timm", "transformers"):  # open_clip imports them for networks that are not used here
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer


class ImageTower(Optimizable):
    """A vision transformer from images to embeddings, not normalised.

    Images of another size are resized first. This is part of the model, so attacks work on the original pixels. The
    optimization `needed_tokens` computes the numbers of open_clip's tower with less work.

    Args:
        channels: 1 or 3; the one channel of grey images is repeated.
        image_size: (H, W) of the tower's input in pixels, or one number for both.
        patch_size: height and width of a patch in pixels.
        width, layers, heads, mlp_ratio: of the transformer.
        embed_dim: D of the embedding.
        quick_gelu: use OpenAI's activation, x sigmoid(1.702 x).

    Raises:
        ConfigError: `channels` is neither 1 nor 3.
    """

    def __init__(
        self,
        *,
        channels: int,
        image_size: int | Sequence[int],
        patch_size: int,
        width: int,
        layers: int,
        heads: int,
        embed_dim: int,
        mlp_ratio: float = 4.0,
        quick_gelu: bool = False,
    ) -> None:
        super().__init__()
        if channels not in (1, 3):
            raise ConfigError("CLIP's image tower takes grey or colour images", observed=f"{channels} channels")
        self.size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.out_features = embed_dim
        self.tower = VisionTransformer(
            image_size=self.size,
            patch_size=patch_size,
            width=width,
            layers=layers,
            heads=heads,
            mlp_ratio=mlp_ratio,
            output_dim=embed_dim,
            act_layer=QuickGELU if quick_gelu else nn.GELU,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images (n, C, H, W) to embeddings (n, D)."""
        if x.shape[-2:] != self.size:
            # Bicubic weights sum to one, so resizing after normalisation is resizing before it.
            x = bicubic(x, self.size)
        x = x.expand(-1, 3, -1, -1)
        embedding: Tensor = self._needed(x) if self.optimizations.needed_tokens else self.tower(x)
        return embedding

    def _needed(self, x: Tensor) -> Tensor:
        """Return the tower's embeddings; of the last block only the class token is computed."""
        tower, blocks = self.tower, self.tower.transformer.resblocks
        tokens = patches(x, tower.conv1)
        first = tower.class_embedding.to(tokens.dtype).expand(len(x), 1, -1)
        tokens = torch.cat([first, tokens], dim=1) + tower.positional_embedding.to(tokens.dtype)
        tokens = applied(tokens, tower.patch_dropout, tower.ln_pre)
        for number, block in enumerate(blocks, start=1):
            tokens = apply_block(block, tokens, only=0 if number == len(blocks) else None)
        embedding: Tensor = tower.ln_post(tokens[:, 0]) @ tower.proj
        return embedding


def apply_block(block: ResidualAttentionBlock, tokens: Tensor, *, only: int | None = None) -> Tensor:
    """Apply a block of `ImageTower` to tokens (n, T, D) and return (n, T, D), or (n, 1, D) with `only`.

    only: position of the single token that is computed; of the others only keys and values are. A block with hooks on
    it or its attention is called as a whole.
    """
    if hooked(block, block.attn):
        return in_full(block, tokens, prompts=None, only=only)
    attn, normed = block.attn, block.ln_1(tokens)
    weight, bias = attn.in_proj_weight, attn.in_proj_bias
    if only is None:
        q, k, v = in_heads(F.linear(normed, weight, bias), attn.num_heads, 3)
    else:
        k, v = in_heads(thirds(weight, bias, normed, KEYS_AND_VALUES), attn.num_heads, 2)
        normed, tokens = one(normed, only), one(tokens, only)
        (q,) = in_heads(thirds(weight, bias, normed, QUERIES), attn.num_heads, 1)
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    tokens = tokens + applied(attended, attn.out_proj, block.ls_1)
    return tokens + applied(block.ln_2(tokens), block.mlp, block.ls_2)
