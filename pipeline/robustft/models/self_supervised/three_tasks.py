"""One network that is pre-trained on Selfie, Jigsaw and Rotation at once.

Chen et al. (CVPR 2020).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.models.backbones.resnet_v2 import ResNetV2, pooled
from robustft.models.classifier import Classifier
from robustft.models.self_supervised.pretext import PermutationHead, permutations
from robustft.models.self_supervised.selfie import AttentionPooling, PatchEncoder, SelfieHead, patch_features

TASKS = ("selfie", "jigsaw", "rotation")
"""The tasks in the order of the three inputs of an image."""


class ThreeTasks(nn.Module):
    """Inputs (n, 3, C, H, W), one for each task -> their features. One trunk; Jigsaw and Rotation have a stage 4 each.

    Each task has a pass of its own, so batch statistics are those of one task's images.
    """

    def __init__(self, backbone: ResNetV2, grid: Sequence[int]) -> None:
        super().__init__()
        self.trunk, self.grid = backbone.trunk, tuple(grid)
        self.jigsaw, self.rotation = backbone.stage4, copy.deepcopy(backbone.stage4).apply(_reset)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return patch features (n, P, D) for Selfie, image features (n, F) for Jigsaw and for Rotation."""
        plain, shuffled, rotated = x.unbind(1)
        return (
            patch_features(self.trunk, plain, self.grid),
            pooled(self.jigsaw(self.trunk(shuffled))),
            pooled(self.rotation(self.trunk(rotated))),
        )


class Branch(nn.Module):
    """The trunk and a stage 4: images (n, C, H, W) -> features (n, F)."""

    def __init__(self, trunk: nn.Module, stage4: nn.Module) -> None:
        super().__init__()
        self.trunk, self.stage4 = trunk, stage4

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features."""
        return pooled(self.stage4(self.trunk(x)))


def of_task(model: Classifier, task: str) -> Classifier:
    """Return the network of one of TASKS, made of the model's own modules: images (n, C, H, W) -> the task's logits."""
    tasks, heads = model.backbone, model.head
    assert isinstance(tasks, ThreeTasks)
    patches = task == "selfie"
    branch = PatchEncoder(tasks.trunk, tasks.grid) if patches else Branch(tasks.trunk, tasks.get_submodule(task))
    return Classifier(model.normalise, branch, heads.get_submodule(task))


def _reset(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
        module.reset_parameters()


class ThreeHeads(nn.Module):
    """The features of three tasks -> logits (n, K, T + 2): Selfie's T cells, the permutation, the angle.

    K is the largest number of choices of a task. Missing logits are -inf, which changes no cross-entropy or argmax.
    """

    def __init__(self, selfie: AttentionPooling, jigsaw: PermutationHead, rotation: nn.Linear) -> None:
        super().__init__()
        self.selfie, self.jigsaw, self.rotation = selfie, jigsaw, rotation

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Apply the heads and pad their logits."""
        patches, shuffled, rotated = features
        logits = [self.selfie(patches), self.jigsaw(shuffled)[:, :, None], self.rotation(rotated)[:, :, None]]
        choices = max(part.shape[1] for part in logits)
        return torch.cat([F.pad(part, (0, 0, 0, choices - part.shape[1]), value=-math.inf) for part in logits], dim=2)


@dataclass(frozen=True, kw_only=True)
class EnsembleHeads(SelfieHead):
    """Train one trunk for all three tasks, a fourth stage each for Jigsaw and Rotation, and three heads."""

    table: Mapping[str, Any]
    attached: ClassVar[bool] = True

    def prepare(self, model: Classifier) -> Classifier:
        """Replace backbone and head; the model's input is then (n, 3, C, H, W)."""
        backbone = model.backbone
        assert isinstance(backbone, ResNetV2)
        model.backbone = ThreeTasks(backbone, self.grid)
        model.head = ThreeHeads(
            self.pooling(backbone.trunk_features),
            PermutationHead(backbone.out_features, permutations(self.table)),
            nn.Linear(backbone.out_features, 4),
        )
        return model
