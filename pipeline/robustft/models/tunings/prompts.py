"""Prompt tuning: trained tokens in the sequence of a frozen vision transformer.

Eskandar, Imtiaz, Wang, Dy. ADAPT to Robustify Prompt Tuning Vision Transformers. TMLR 2025. arXiv 2403.13196, with
the layout of its released code (commit f25bfdd). f(x; P) is the network with prompts. f(x; no P) is the network without
prompts, with the same weights, also of the head and the patch embedding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from robustft.errors import ConfigError
from robustft.models.backbones.vit import ViT, apply_block
from robustft.models.classifier import Classifier
from robustft.models.tunings.protocol import Tuning
from robustft.speed.optimizations import Optimizable


class PromptedViT(Optimizable):
    """A vision transformer whose chosen blocks see L prompts before the class token.

    Prompts have no position embedding. They enter at the first chosen block and pass the following ones. Each later
    chosen block replaces them by its own (the deep prompts of Jia et al., ECCV 2022). The features are the class token,
    at position L, after the final norm.

    Args:
        vit: the network, which is not copied.
        length: L.
        blocks: numbers of the blocks that have their own prompts, from 0.
    """

    def __init__(self, vit: ViT, *, length: int, blocks: Sequence[int]) -> None:
        super().__init__()
        self.vit, self.blocks, self.out_features = vit, tuple(blocks), vit.out_features
        self.prompted = True
        self.prompts = nn.Parameter(next(vit.parameters()).new_empty(1, length, vit.out_features, len(self.blocks)))
        # U(-a, a) with a = sqrt(6 / ((L + 1) D N)) for N blocks.
        nn.init.xavier_uniform_(self.prompts)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to features (n, D), without prompts if `prompted` is False."""
        if not self.prompted:
            return self.vit(x)
        if self.optimizations.needed_tokens:
            return self._needed(x)
        tokens, prompts = self.vit.embed(x), 0
        for number, block in enumerate(self.vit.blocks):
            if number in self.blocks:
                own = self.prompts[..., self.blocks.index(number)].expand(len(x), -1, -1)
                tokens = torch.cat([own, tokens[:, prompts:]], dim=1)
                prompts = own.shape[1]
            tokens = block(tokens)
        features: Tensor = self.vit.norm(tokens[:, prompts])
        return features

    def _needed(self, x: Tensor) -> Tensor:
        """Return the same features without computing tokens that are not read: prompts that the next block replaces."""
        tokens, travelling, last = self.vit.embed(x), 0, len(self.vit.blocks) - 1
        for number, block in enumerate(self.vit.blocks):
            fleeting = None
            if number in self.blocks:
                tokens, own = tokens[:, travelling:], self.prompts[..., self.blocks.index(number)]
                if number == last or number + 1 in self.blocks:
                    fleeting, travelling = own, 0
                else:
                    tokens, travelling = torch.cat([own.expand(len(x), -1, -1), tokens], dim=1), own.shape[1]
            tokens = apply_block(block, tokens, prompts=fleeting, only=travelling if number == last else None)
        return self.vit.read(tokens)


def without_prompts(model: nn.Module) -> nn.Module:
    """Return the classifier without its prompts, sharing all weights. A model without prompts is returned as it is."""
    if isinstance(model, Classifier) and isinstance(model.backbone, PromptedViT):
        bare = Classifier(model.normalise, model.backbone.vit, model.head)
        # Of this module only: the shared parts keep their own.
        bare.training, bare.optimizations = model.training, model.optimizations
        return bare
    return model


@dataclass(frozen=True, kw_only=True)
class PromptTuning(Tuning):
    """Train prompts, and optionally the head and the patch embedding. All other weights are frozen.

    length: L, the number of prompts of a block.
    depth: which blocks have their own prompts: the first `depth` ones (1: prompt tuning), "all" (deep prompt tuning),
        or those of a list.
    attack: whether training attacks see the network without prompts ("traditional") or with them ("adaptive").
    """

    attached: ClassVar[bool] = True

    length: int
    depth: int | Literal["all"] | Sequence[int]
    attack: Literal["traditional", "adaptive"]
    train_head: bool = True
    train_patch_embedding: bool = True

    def __post_init__(self) -> None:
        if self.attack not in ("traditional", "adaptive"):
            raise ConfigError(f"a training attack is 'traditional' or 'adaptive', not {self.attack!r}")
        if self.length < 1:
            raise ConfigError(f"prompt tuning needs at least one prompt, not {self.length}")

    def prepare(self, model: Classifier) -> Classifier:
        """Add prompts, drawn from torch's global generator, to the backbone. Raises ConfigError if it is no ViT."""
        if not isinstance(model.backbone, ViT):
            raise ConfigError("prompts need a vision transformer", observed=type(model.backbone).__name__)
        model.requires_grad_(False)
        model.backbone.patch_embed.requires_grad_(self.train_patch_embedding)
        model.head.requires_grad_(self.train_head)
        model.backbone = PromptedViT(
            model.backbone, length=self.length, blocks=self._blocks(len(model.backbone.blocks))
        )
        return model

    @contextlib.contextmanager
    def attacked(self, model: Classifier) -> Iterator[None]:
        """Switch the prompts off for a traditional attack, within the context."""
        backbone = model.backbone
        assert isinstance(backbone, PromptedViT)
        before = backbone.prompted
        backbone.prompted = before and self.attack == "adaptive"
        try:
            yield
        finally:
            backbone.prompted = before

    def _blocks(self, blocks: int) -> list[int]:
        if self.depth == "all":
            return list(range(blocks))
        chosen = list(range(self.depth)) if isinstance(self.depth, int) else list(self.depth)
        if not chosen or sorted(set(chosen)) != chosen or chosen[0] < 0 or chosen[-1] >= blocks:
            raise ConfigError(
                "these blocks cannot have prompts", expected=f"some of 0..{blocks - 1}, in order", observed=chosen
            )
        return chosen
