"""LoRA in a vision transformer: h = W0 x + alpha B A x (Hu et al., ICLR 2022), with peft, and a variant with a norm.

Each site (`robustft.models.tunings.sites`) has its own A and B. The head is trained too, all else is frozen.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from robustft.models.classifier import Classifier
from robustft.models.tunings.protocol import Tuning
from robustft.models.tunings.sites import SITES, blocks_of, check_sites


class SplitQKV(nn.Module):
    """timm's fused layer of queries, keys and values as three linear layers, so that each is a site."""

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        third = fused.out_features // 3
        for number, name in enumerate("qkv"):
            rows = slice(number * third, (number + 1) * third)
            part = nn.Linear(fused.in_features, third, bias=fused.bias is not None, device="meta")
            part.weight = nn.Parameter(fused.weight.detach()[rows].clone())
            if fused.bias is not None:
                part.bias = nn.Parameter(fused.bias.detach()[rows].clone())
            self.add_module(name, part)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, D) to (n, tokens, 3 D): queries, keys, values."""
        return torch.cat([part(x) for part in self.children()], dim=-1)

    def fused(self) -> nn.Linear:
        """Return one linear layer that computes the same."""
        q, k, v = (part for part in self.children() if isinstance(part, nn.Linear))
        fused = nn.Linear(q.in_features, 3 * q.out_features, bias=q.bias is not None, device="meta")
        fused.weight = nn.Parameter(torch.cat([part.weight.detach() for part in (q, k, v)]))
        if q.bias is not None:
            fused.bias = nn.Parameter(torch.cat([part.bias.detach() for part in (q, k, v)]))
        return fused


class NormalisedLora(nn.Module):
    """W0 x + b + alpha B A LayerNorm(x), where all but W0 and b is trained: LNLoRA (Yuan et al., arXiv 2401.01752).

    It cannot be folded into W0, as the norm depends on x.
    """

    def __init__(self, base: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.base, self.alpha = base, alpha
        self.norm = nn.LayerNorm(base.in_features).to(base.weight)
        self.a = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.b = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))  # as LoRA

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        branch: Tensor = nn.functional.linear(nn.functional.linear(self.norm(x), self.a), self.b)
        return self.base(x) + self.alpha * branch


def _frozen_blocks(model: Classifier, sites: Sequence[str]) -> nn.Sequential:
    """Freeze the backbone and return its blocks, where each of the sites is a layer of its own."""
    check_sites(sites)
    blocks = blocks_of(model.backbone)
    if set(sites) & set("qkv"):
        for block in blocks:
            block.attn.qkv = SplitQKV(block.attn.qkv)  # type: ignore[arg-type,union-attr]
    model.backbone.requires_grad_(False)
    return blocks


def _located(blocks: nn.Sequential, kind: Any) -> Iterator[tuple[nn.Module, str, Any]]:
    """Yield (parent, name in the parent, module) of each module of a kind. The caller may replace modules meanwhile."""
    for name, module in list(blocks.named_modules()):
        if isinstance(module, kind):
            parent, _, child = name.rpartition(".")
            yield blocks.get_submodule(parent), child, module


def _lora_layer() -> Any:
    from peft.tuners.lora import LoraLayer

    return LoraLayer


@dataclass(frozen=True, kw_only=True)
class Lora(Tuning):
    """Train peft's LoRA at `sites`, and the head. `alpha` is the whole factor before B A: peft's lora_alpha / r."""

    rank: int
    alpha: float = 1.0
    sites: Sequence[str] = SITES

    def prepare(self, model: Classifier) -> Classifier:
        """Freeze the backbone and give every site an A (uniform) and a B (zero)."""
        from peft import LoraConfig, inject_adapter_in_model  # takes 2 s, so only runs with LoRA import it

        blocks = _frozen_blocks(model, self.sites)
        # Only the blocks, as the patch embedding has a `proj` too.
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha * self.rank, target_modules=list(self.sites))  # type: ignore[arg-type]
        inject_adapter_in_model(config, blocks)
        return model

    @contextlib.contextmanager
    def attacked(self, model: Classifier) -> Iterator[None]:
        """Use W0 + alpha B A as one weight during an attack, which then costs what it costs on the plain network."""
        layers = [layer for _, _, layer in _located(blocks_of(model.backbone), _lora_layer())]
        before = [layer.get_base_layer().weight.data for layer in layers]
        try:
            for layer, w0 in zip(layers, before, strict=True):
                layer.get_base_layer().weight.data = w0 + layer.get_delta_weight("default").detach()
                layer.merged_adapters.append("default")  # peft's unmerge would leave rounding errors
            yield
        finally:
            for layer, w0 in zip(layers, before, strict=True):
                layer.get_base_layer().weight.data = w0
                layer.merged_adapters.clear()

    def export(self, model: Classifier) -> Classifier:
        """Fold alpha B A into the weights: a plain ViT."""
        blocks = blocks_of(model.backbone)
        for parent, name, layer in _located(blocks, _lora_layer()):
            layer.merge()
            setattr(parent, name, layer.get_base_layer())
        for parent, name, split in _located(blocks, SplitQKV):
            setattr(parent, name, split.fused())
        return model


@dataclass(frozen=True, kw_only=True)
class FullLora(Tuning):
    """Train LoRA with a LayerNorm at `sites`, and the head: FullLoRA-AT (Yuan et al., arXiv 2401.01752)."""

    rank: int
    alpha: float = 1.0
    sites: Sequence[str] = SITES

    attached: ClassVar[bool] = True

    def prepare(self, model: Classifier) -> Classifier:
        """Freeze the backbone and wrap every site."""
        blocks = _frozen_blocks(model, self.sites)
        for parent, name, layer in _located(blocks, nn.Linear):
            if name in self.sites:
                setattr(parent, name, NormalisedLora(layer, rank=self.rank, alpha=self.alpha))
        return model
