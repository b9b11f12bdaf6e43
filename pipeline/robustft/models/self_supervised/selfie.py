"""Selfie: predict which patch belongs to which cell, from the other patches.

Trinh, Luong, Le. Selfie: Self-supervised Pretraining for Image Embedding. 2019. arXiv 1906.02940. As used by Chen et
al. (CVPR 2020): the trunk sees each patch alone; a transformer summarises the context patches.
"""

from __future__ import annotations

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


class AttentionPooling(nn.Module):
    """Features of all patches (n, P, D) -> logits (n, T, T): which of T target patches (dim 1) is in cell k (dim 2).

    A learned token u_0 and the P - T context patches, without positions, pass a transformer. Its output at u_0 is the
    summary u. The query for target cell k is u + row embedding + column embedding. The logit of a patch is the dot
    product of its feature and the query, not scaled. Targets are in the order of their cells, so the label of cell k is
    k, which the features do not reveal.

    The plain attribute `targets` holds the target cells of a whole batch, (T,) int64: the first T cells until `draw`
    chooses others.

    Args:
        width: D, of the features.
        grid: rows and columns.
        targets: T.
        layers: of the transformer (post-norm, tanh GELU).
        heads: of each layer.
        feedforward: width inside each layer.
        dropout: in each layer.
    """

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
        self.grid, self.targets = tuple(grid), torch.arange(targets)
        self.u_0 = nn.Parameter(torch.zeros(width))
        gelu = partial(F.gelu, approximate="tanh")
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, heads, feedforward, dropout, activation=gelu, batch_first=True)
                for _ in range(layers)
            )
        )
        self.rows, self.columns = nn.Embedding(grid[0], width), nn.Embedding(grid[1], width)
        nn.init.zeros_(self.columns.weight)

    def draw(self, generator: torch.Generator) -> None:
        """Draw the target cells uniformly, one choice for a whole batch."""
        cells = torch.randperm(self.grid[0] * self.grid[1], generator=generator, device=generator.device)
        self.targets = cells[: len(self.targets)].sort().values

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, (n, choices T, target cells T)."""
        targets = self.targets.to(features.device)
        is_context = torch.ones(features.shape[1], dtype=torch.bool, device=features.device)
        is_context[targets] = False
        tokens = torch.cat([self.u_0.expand(len(features), 1, -1), features[:, is_context]], dim=1)
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
