"""The textbook's models, plainly: two batch norms, prompts in every block, LoRA made at each pass, CLIP with its texts.

The networks are timm's, open_clip's and the project's, with every optimization off.
"""

from __future__ import annotations

import copy
from dataclasses import fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.models.backbones.vit import ViT
from robustft.models.classifier import Classifier
from robustft.models.text_heads import TextHead
from robustft.models.tunings.hypernetwork import Hypernetwork
from robustft.speed.optimizations import Optimizations, apply_optimizations

NO_OPTIMIZATIONS = Optimizations(**{optimization.name: False for optimization in fields(Optimizations)})


def plain(module: nn.Module) -> nn.Module:
    """Return a contiguous copy without any optimization, all of whose parameters require a gradient."""
    twin = copy.deepcopy(module).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    apply_optimizations(twin, NO_OPTIMIZATIONS)
    return twin.requires_grad_(True)


class TwoBatchNorms(nn.Module):
    """One batch norm that keeps its statistics and one that follows the batch; `adaptive` says which acts."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.fixed, self.following, self.adaptive = copy.deepcopy(norm), copy.deepcopy(norm), True

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, C, H, W)."""
        if self.adaptive:
            return self.following(x)
        fixed = self.fixed
        return F.batch_norm(x, fixed.running_mean, fixed.running_var, fixed.weight, fixed.bias, False, 0.0, fixed.eps)


def two_batch_norms(module: nn.Module) -> nn.Module:
    """Replace every batch norm by two, in place."""
    for name, child in module.named_children():
        setattr(module, name, TwoBatchNorms(child) if isinstance(child, nn.BatchNorm2d) else two_batch_norms(child))
    return module


class DeepPrompts(nn.Module):
    """A ViT into each of whose blocks prompts of its own are concatenated, before the class token.

    prompts is (1, L, width, blocks).
    """

    def __init__(self, vit: ViT, prompts: Tensor) -> None:
        super().__init__()
        self.vit, self.prompts = vit, nn.Parameter(prompts.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to the class token's features (n, width)."""
        length, tokens = self.prompts.shape[1], self.vit.embed(x)
        for number, block in enumerate(self.vit.blocks):
            own = self.prompts[..., number].expand(len(x), -1, -1)
            tokens = block(torch.cat([own, tokens], dim=1))[:, length:]
        return self.vit.norm(tokens)[:, 0]


class LoraLinear(nn.Module):
    """W0 x + b + alpha B A x, with one A and B for each part of the output (one, or queries, keys and values)."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.factors: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        return self.base(x) + torch.cat([F.linear(F.linear(x, a), b) for a, b in self.factors], dim=-1)


class HyperVit(nn.Module):
    """A ViT whose LoRA is generated at each forward pass (Lv et al., arXiv 2410.05951)."""

    def __init__(self, vit: ViT, hypernetwork: Hypernetwork, *, alpha: float, defence: str) -> None:
        super().__init__()
        self.vit, self.hypernetwork, self.alpha, self.defence = vit, hypernetwork, alpha, defence
        self.blocks: list[Any] = list(vit.blocks)
        for block in self.blocks:
            block.attn.qkv, block.attn.proj = LoraLinear(block.attn.qkv), LoraLinear(block.attn.proj)
            block.mlp.fc1, block.mlp.fc2 = LoraLinear(block.mlp.fc1), LoraLinear(block.mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """Generate A and B of every site, then map images (n, C, H, W) to features (n, width)."""
        lora = self.hypernetwork(self.defence)
        for number, block in enumerate(self.blocks):
            layers = {"q k v": block.attn.qkv, "proj": block.attn.proj, "fc1": block.mlp.fc1, "fc2": block.mlp.fc2}
            for sites, layer in layers.items():
                layer.factors = [(lora[s][0][number], self.alpha * lora[s][1][number]) for s in sites.split()]
        return self.vit(x)


class ClipModel(nn.Module):
    """CLIP's logits for images: the text tower reads the classes' prompts at each pass, or did once (`text_once`)."""

    def __init__(self, model: Classifier, reader: TextHead, *, scale: float, text_once: bool) -> None:
        super().__init__()
        self.image, self.reader, self.scale = nn.Sequential(model.normalise, model.backbone), reader, scale
        self.text: Tensor | None = None
        if text_once:
            with torch.no_grad():
                self.text = self.read()

    def read(self) -> Tensor:
        """Return the normalised embeddings of the prompts, (K, D)."""
        return F.normalize(self.reader.tower(self.reader.tokens), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, C, H, W) to scaled cosines (n, K)."""
        text = self.read() if self.text is None else self.text
        return self.scale * F.normalize(self.image(x), dim=1) @ text.T
