"""Heads that compare an image's embedding with the embeddings of texts, as CLIP does.

Radford et al. Learning Transferable Visual Models From Natural Language Supervision. ICML 2021. The text tower, its
initialisation and the tokenizer are open_clip's. OpenAI's weights fit them.

| paper of PMG-AFT | here |
| --- | --- |
| t_j, normalised | rows of `TextHead.text()` and of `FixedTextHead.text()` |
| s, the logit scale (100 in OpenAI's models) | `scale` of both heads |
| z(x)_j = s cos(F_theta(x), t_j) | logits of both heads |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.errors import ConfigError
from robustft.runtime.imports import import_without

with import_without("timm", "transformers"):  # open_clip imports them for networks that are not used here
    from open_clip.tokenizer import tokenize
    from open_clip.transformer import QuickGELU, TextTransformer

VOCABULARY = 49408
"""Number of tokens that open_clip's byte-pair tokenizer knows. The end of a text is the highest."""
LARGEST_SCALE = 100.0
"""CLIP clips its learnt logit scale at this value (Radford et al., section 2.5)."""


class CosineHead(nn.Module):
    """A head whose logits are scaled cosines to one text embedding for each class."""

    scale: Tensor
    """s, a scalar."""

    def text(self) -> Tensor:
        """Return the normalised text embeddings, (K, D)."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:
        """Map embeddings (n, D), not normalised, to logits (n, K)."""
        return self.scale * F.normalize(features, dim=1) @ self.text().T

    def retargeted(self, reader: CosineHead) -> FixedTextHead:
        """Return a fixed head with the classes of another head, `reader`, and this head's scale."""
        return FixedTextHead(reader.text().detach(), self.scale.detach())


class TextHead(CosineHead):
    """The text tower, applied to one prompt for each class. It is trained in pre-training.

    Args:
        in_features: D.
        classes: K.
        prompts: K texts.
        width, layers, heads, mlp_ratio, quick_gelu: of the transformer.
        context_length: largest number of tokens of a text, its start and end token included.
    """

    transfers: ClassVar[bool] = True
    """Fine-tuning loads this head from a pre-trained checkpoint too, as its weights fit any classes."""

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
        """exp(logit_scale), at most 100."""
        return self.logit_scale.exp().clamp(max=LARGEST_SCALE)

    def text(self) -> Tensor:
        """Return the embeddings of the prompts; gradients reach the text tower."""
        return F.normalize(self.tower(self.tokens), dim=1)


def tokenised(prompts: Sequence[str], context_length: int) -> Tensor:
    """Return token numbers (K, context_length), padded with zeros. Raises ConfigError for a text that is too long."""
    with torch.device("cpu"):  # also while a model is built on the meta device
        tokens: Tensor = tokenize(list(prompts), context_length=max(context_length, 256))
    too_long = [text for text, row in zip(prompts, tokens.tolist(), strict=True) if any(row[context_length:])]
    if too_long:
        raise ConfigError(f"a prompt is longer than {context_length} tokens", observed=too_long[0])
    return tokens[:, :context_length]


class FixedTextHead(CosineHead):
    """Stored text embeddings (K, D) and a scale; neither is trained."""

    embeddings: Tensor

    def __init__(self, embeddings: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings.clone())
        self.register_buffer("scale", scale.clone())

    def text(self) -> Tensor:
        """Return the stored embeddings."""
        return self.embeddings
