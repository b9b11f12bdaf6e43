"""CLIP as a classifier: an image tower, and a head that compares its embedding with those of the classes' prompts.

Radford et al. Learning Transferable Visual Models From Natural Language Supervision. ICML 2021. The towers, their
initialisation and the tokenizer are open_clip's; OpenAI's weights fit them.

| paper of PMG-AFT | here |
| --- | --- |
| F_theta(x), raw | `ImageTower`, the backbone |
| t_j, normalised | rows of `TextHead.text()` and of `FixedTextHead` |
| s, the logit scale (100 in OpenAI's models) | `scale` of both heads |
| z(x)_j = s cos(F_theta(x), t_j) | logits of both heads |
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.errors import ConfigError
from robustft.models.classifier import Classifier, Normalise
from robustft.models.tunings.protocol import Tuning
from robustft.runtime.hidden_packages import without
from robustft.speed.optimizations import Optimizable
from robustft.speed.tokens import KEYS_AND_VALUES, QUERIES, applied, in_full, in_heads, one, patches, thirds, watched

with without("timm", "transformers"):  # for networks of theirs that are not used here
    from open_clip.tokenizer import tokenize
    from open_clip.transformer import QuickGELU, ResidualAttentionBlock, TextTransformer, VisionTransformer

VOCABULARY = 49408
"""Tokens that open_clip's byte-pair tokenizer knows; the end of a text is the highest."""
LARGEST_SCALE = 100.0
"""CLIP keeps its learnt logit scale from growing beyond this (Radford et al., section 2.5)."""


class ImageTower(Optimizable):
    """A vision transformer from images to embeddings, not normalised.

    Images of another size are resized first: inside the model, so an attack works on the pixels that it was given.
    The optimization `needed_tokens` computes what open_clip's tower does, with less work.

    Args:
        channels: 1 or 3; grey images fill the tower's three channels.
        image_size: (H, W) that the tower sees, or one number for both.
        patch_size: side of a patch.
        width, layers, heads, mlp_ratio: of the transformer.
        embed_dim: D of the embedding.
        quick_gelu: OpenAI's activation, x sigmoid(1.702 x).
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
            x = F.interpolate(x, self.size, mode="bicubic", align_corners=False)
        x = x.expand(-1, 3, -1, -1)
        embedding: Tensor = self._needed(x) if self.optimizations.needed_tokens else self.tower(x)
        return embedding

    def _needed(self, x: Tensor) -> Tensor:
        """Compute the tower's embeddings, of the last block the class token alone."""
        tower, blocks = self.tower, self.tower.transformer.resblocks
        tokens = patches(x, tower.conv1)
        first = tower.class_embedding.to(tokens.dtype).expand(len(x), 1, -1)
        tokens = torch.cat([first, tokens], dim=1) + tower.positional_embedding.to(tokens.dtype)
        tokens = applied(tokens, tower.patch_dropout, tower.ln_pre)
        for number, block in enumerate(blocks, start=1):
            tokens = through(block, tokens, only=0 if number == len(blocks) else None)
        embedding: Tensor = tower.ln_post(tokens[:, 0]) @ tower.proj
        return embedding


def through(block: ResidualAttentionBlock, tokens: Tensor, *, only: int | None = None) -> Tensor:
    """Return what tokens (n, T, D) are after a block of `ImageTower`: (n, T, D), or (n, 1, D) with `only`.

    only: the one token that is read afterwards; the others have keys and values alone. The block is called where hooks
    hang on it or its attention.
    """
    if watched(block, block.attn):
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


class _Cosine(nn.Module):
    """A head whose logits are scaled cosines to one text embedding for each class."""

    scale: Tensor
    """s, a scalar."""

    def text(self) -> Tensor:
        """Return the normalised text embeddings, (K, D)."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Map embeddings (n, D), not normalised, to logits (n, K)."""
        return self.scale * F.normalize(features, dim=1) @ self.text().T

    def retargeted(self, reader: _Cosine) -> FixedTextHead:
        """Return a head on the classes of `reader`, whose text tower read them, with this head's scale."""
        return FixedTextHead(reader.text().detach(), self.scale.detach())


class TextHead(_Cosine):
    """The text tower over one prompt for each class: trained in pre-training, read once in fine-tuning.

    Args:
        in_features: D.
        classes: K.
        prompts: K texts.
        width, layers, heads, mlp_ratio, quick_gelu: of the transformer.
        context_length: tokens of a text at most, its beginning and end among them.
    """

    transfers: ClassVar[bool] = True
    """The head is loaded from a pre-trained checkpoint too: its weights do not know which classes they read."""

    tokens: Tensor

    def __init__(
        self,
        in_features: int,
        *,
        classes: int,
        prompts: Sequence[str] | None,
        width: int,
        layers: int,
        heads: int,
        context_length: int = 77,
        mlp_ratio: float = 4.0,
        quick_gelu: bool = False,
    ) -> None:
        super().__init__()
        if prompts is None or len(prompts) != classes:
            raise ConfigError(
                "a text head needs one prompt for each class",
                where="config/datasets.yaml",
                expected=f"names for {classes} classes, and a template",
                observed="none" if prompts is None else len(prompts),
            )
        # Not persistent: a checkpoint fits any set of classes.
        self.register_buffer("tokens", tokenised(prompts, context_length), persistent=False)
        self.tower = TextTransformer(
            context_length=context_length,
            vocab_size=VOCABULARY,
            width=width,
            layers=layers,
            heads=heads,
            mlp_ratio=mlp_ratio,
            output_dim=in_features,
            act_layer=QuickGELU if quick_gelu else nn.GELU,
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    @property
    def scale(self) -> Tensor:  # type: ignore[override]
        """The exponential of what is learnt, 100 at most."""
        return self.logit_scale.exp().clamp(max=LARGEST_SCALE)

    def text(self) -> Tensor:
        """Read the prompts; gradients reach the text tower."""
        return F.normalize(self.tower(self.tokens), dim=1)


def tokenised(prompts: Sequence[str], context_length: int) -> Tensor:
    """Return token numbers (K, context_length), padded with zeros. Raises ConfigError where a text would be cut."""
    with torch.device("cpu"):  # texts have values, even where a model is counted without any
        tokens: Tensor = tokenize(list(prompts), context_length=max(context_length, 256))
    cut = [text for text, row in zip(prompts, tokens.tolist(), strict=True) if any(row[context_length:])]
    if cut:
        raise ConfigError(f"a prompt is longer than {context_length} tokens", observed=cut[0])
    return tokens[:, :context_length]


class FixedTextHead(_Cosine):
    """Text embeddings (K, D) read once, and a scale; nothing in it is trained."""

    embeddings: Tensor

    def __init__(self, embeddings: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings.clone())
        self.register_buffer("scale", scale.clone())

    def text(self) -> Tensor:
        """Return the stored embeddings."""
        return self.embeddings


@dataclass(frozen=True, kw_only=True)
class ZeroShot(Tuning):
    """Train the image tower against class embeddings that are read once, before training.

    scale: s; None keeps what pre-training learnt. The code released with PMG-AFT works with 1.
    normalisation: {mean, std} in the place of the pre-trained model's, as that code has ImageNet's; None keeps them.
    """

    attached: ClassVar[bool] = True

    scale: float | None = None
    normalisation: Mapping[str, list[float]] | None = None

    def prepare(self, model: Classifier) -> Classifier:
        """Put a fixed head in the place of the text tower. Raises ConfigError for a head without texts."""
        if not isinstance(model.head, _Cosine):
            raise ConfigError("zero-shot classes need a text head", observed=type(model.head).__name__)
        with torch.no_grad():
            model.head = model.head.retargeted(model.head)
            if self.scale is not None:
                model.head.scale.fill_(self.scale)
        if self.normalisation is not None:
            mean = model.normalise.mean
            model.normalise = Normalise(**self.normalisation).to(mean)  # type: ignore[arg-type]
        return model
