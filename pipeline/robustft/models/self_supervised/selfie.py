"""Selfie: predict which patch belongs to which cell, from the other patches.

Trinh, Luong, Le. Selfie: Self-supervised Pretraining for Image Embedding. 2019. arXiv 1906.02940. As used by Chen et
al. (CVPR 2020): the trunk sees each patch alone; a transformer summarises the context patches.

Initial weights and dropout are those of their released code (VITA-Group/Adv-SS-Pretraining, pretraining/
attention_pooling/SubLayers.py), which differ from `nn.TransformerEncoderLayer`'s; see `encoder_layer`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from robustft.models.backbones.resnet_v2 import ResNetV2, pooled
from robustft.models.classifier import Classifier
from robustft.models.self_supervised.pretext import cut
from robustft.models.tunings.protocol import Tuning


def patch_features(trunk: nn.Module, x: Tensor, grid: Sequence[int]) -> Tensor:
    """Return the trunk's features of each patch alone: images (n, C, H, W) -> (n, rows * columns, D)."""
    patches = cut(x, grid)
    return pooled(trunk(patches.flatten(0, 1))).reshape(*patches.shape[:2], -1)


class PatchEncoder(nn.Module):
    """A backbone that applies the trunk to each patch alone."""

    def __init__(self, trunk: nn.Module, grid: Sequence[int]) -> None:
        super().__init__()
        self.trunk, self.grid = trunk, tuple(grid)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to features (n, rows * columns, D)."""
        return patch_features(self.trunk, x, self.grid)


def encoder_layer(width: int, heads: int, feedforward: int, dropout: float) -> nn.TransformerEncoderLayer:
    """Return a post-norm encoder layer with tanh GELU, and with the initial weights and the dropout of the release.

    Weights of query, key and value are N(0, 2 / (width + width / heads)): a head has its own matrix there. Those of the
    output are N(0, 1 / width). All four biases are uniform within 1 / sqrt(width). The feed-forward part starts as any
    linear layer. Dropout acts on attention weights, on the output of attention and on that of the feed-forward part,
    but not inside of it.
    """
    gelu = partial(F.gelu, approximate="tanh")
    layer = nn.TransformerEncoderLayer(width, heads, feedforward, dropout, activation=gelu, batch_first=True)
    layer.dropout = nn.Dropout(0.0)  # after the GELU
    attention, bound = layer.self_attn, 1 / math.sqrt(width)
    nn.init.normal_(attention.in_proj_weight, std=math.sqrt(2 / (width + width // heads)))
    nn.init.normal_(attention.out_proj.weight, std=math.sqrt(1 / width))
    nn.init.uniform_(attention.in_proj_bias, -bound, bound)
    nn.init.uniform_(attention.out_proj.bias, -bound, bound)
    return layer


class AttentionPooling(nn.Module):
    """Features of all patches (n, P, D) -> logits (n, T, T): which of T target patches (dim 1) is in cell k (dim 2).

    A learned token u_0 and the P - T context patches, without positions, pass a transformer. Its output at u_0 is the
    summary u. The query for target cell k is u + row embedding + column embedding. The logit of a patch is the dot
    product of its feature and the query, not scaled. Targets are in the order of their cells, so the label of cell k is
    k, which the features do not reveal.

    The buffer `targets` holds the target cells of a whole batch, (T,) int64: the first T cells until `draw` chooses
    others.

    Args:
        width: D, of the features.
        grid: rows and columns.
        targets: T.
        layers: of the transformer, see `encoder_layer`.
        heads: of each layer.
        feedforward: width inside each layer.
        dropout: in each layer.
    """

    targets: Tensor

    def __init__(
        self,
        width: int,
        *,
        grid: Sequence[int],
        targets: int,
        layers: int,
        heads: int,
        feedforward: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if not 0 < targets < grid[0] * grid[1]:
            raise ValueError(
                f"of {grid[0] * grid[1]} patches {targets} cannot be targets; expected 1 to {grid[0] * grid[1] - 1}"
            )
        self.grid = tuple(grid)
        self.register_buffer("targets", torch.arange(targets))
        self.u_0 = nn.Parameter(torch.zeros(width))
        self.layers = nn.Sequential(*(encoder_layer(width, heads, feedforward, dropout) for _ in range(layers)))
        self.rows, self.columns = nn.Embedding(grid[0], width), nn.Embedding(grid[1], width)
        nn.init.zeros_(self.columns.weight)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the target cells uniformly, one choice for a whole batch."""
        cells = torch.randperm(self.grid[0] * self.grid[1], generator=generator, device=generator.device)
        self.targets = cells[: len(self.targets)].sort().values.to(self.targets.device)

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, (n, choices T, target cells T)."""
        targets = self.targets
        # Numbers and no mask: how many cells a mask leaves, a GPU would have to tell first.
        is_target = torch.zeros(features.shape[1], dtype=torch.uint8, device=features.device)
        is_target[targets] = 1
        context = is_target.argsort(stable=True)[: features.shape[1] - len(targets)]
        tokens = torch.cat([self.u_0.expand(len(features), 1, -1), features[:, context]], dim=1)
        # The gradient-diversity regulariser differentiates twice, which the fused kernels of attention cannot.
        with sdpa_kernel(SDPBackend.MATH):
            u = self.layers(tokens)[:, :1]
        queries = u + self.rows(targets // self.grid[1]) + self.columns(targets % self.grid[1])
        return features[:, targets] @ queries.transpose(1, 2)


@dataclass(frozen=True, kw_only=True)
class SelfieHead(Tuning):
    """Train the trunk and attention pooling, without the fourth stage."""

    grid: Sequence[int]
    targets: int
    layers: int
    heads: int
    feedforward: int
    dropout: float
    attached: ClassVar[bool] = True

    def prepare(self, model: Classifier) -> Classifier:
        """Replace the backbone by its trunk on patches, and the head."""
        assert isinstance(model.backbone, ResNetV2)
        model.head = self.pooling(model.backbone.trunk_features)
        model.backbone = PatchEncoder(model.backbone.trunk, self.grid)
        return model

    def pooling(self, width: int) -> AttentionPooling:
        """Return attention pooling for features of this width."""
        return AttentionPooling(
            width,
            grid=self.grid,
            targets=self.targets,
            layers=self.layers,
            heads=self.heads,
            feedforward=self.feedforward,
            dropout=self.dropout,
        )
