"""Merging the LoRAs of several defences into one network (Lv et al., arXiv 2410.05951, abstract).

The products are merged, not the factors: delta W = sum_i w_i alpha B_i A_i, with weights that sum to 1. The factors of
each defence have a basis of their own (B R^-1 and R A give the same network), so their mean would mix unrelated bases.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustft.errors import ConfigError
from robustft.models.classifier import Classifier
from robustft.models.tunings.adapted_backbone import AdaptedBackbone, Factors, adapted_backbone, fold
from robustft.models.tunings.hypernetwork import hyper_backbone
from robustft.models.tunings.protocol import Tuning


class MergedBackbone(AdaptedBackbone):
    """A ViT with a weighted mean of the LoRAs of M defences; the weights w = softmax(logits) can be learnt.

    sum_i w_i B_i A_i is one product, [w_1 B_1 ... w_M B_M] [A_1; ...; A_M], so the factors are stored, not M networks.

    logits: (1, 1, M), one weight for each defence, or (sites, L, M), one for each defence at each site of each block.
    """

    def __init__(self, plain: nn.Module, members: Sequence[Factors], *, per_site: bool) -> None:
        super().__init__(plain)
        self.sites = list(members[0])
        for site in self.sites:
            a, b = zip(*(member[site] for member in members), strict=True)
            self.register_buffer(f"a_{site}", torch.cat(a, dim=1))  # (L, M r, inputs)
            self.register_buffer(f"b_{site}", torch.stack(b, dim=2))  # (L, outputs, M, r)
        first = self.get_buffer(f"a_{self.sites[0]}")
        rows = (len(self.sites), len(first)) if per_site else (1, 1)
        self.logits = nn.Parameter(first.new_zeros(*rows, len(members)))

    def deltas(self) -> dict[str, Tensor]:
        """Return sum_i w_i alpha B_i A_i of each site."""
        w = self.logits.softmax(dim=-1).expand(len(self.sites), -1, -1)
        return {
            site: (w_site[:, None, :, None] * self.get_buffer(f"b_{site}")).flatten(2) @ self.get_buffer(f"a_{site}")
            for site, w_site in zip(self.sites, w, strict=True)
        }


def learnable(models: list[Classifier], *, defences: Sequence[str], per_site: bool = False) -> Classifier:
    """Return the merge of the i-th model's LoRA of the i-th defence, with learnable weights that are equal at first.

    A single model gives the LoRAs of all defences. Raises ConfigError unless the models share backbone and head.
    """
    first = models[0]
    sources = [first] * len(defences) if len(models) == 1 else models
    for other in models[1:]:
        if not _equal(first.head, other.head) or not _equal(hyper_backbone(first).plain, hyper_backbone(other).plain):
            raise ConfigError(
                "models can be merged only if nothing but their LoRAs differs",
                next_step="train the specialists with `head: false`",
            )
    with torch.no_grad():
        members = [hyper_backbone(model).factors(defence) for model, defence in zip(sources, defences, strict=True)]
    merged = MergedBackbone(hyper_backbone(first).plain, members, per_site=per_site)
    return Classifier(first.normalise, merged, first.head)


def _equal(one: nn.Module, other: nn.Module) -> bool:
    others = other.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in one.state_dict().items())


def uniform(models: list[Classifier], *, defences: Sequence[str]) -> Classifier:
    """Return the plain ViT with the unweighted mean of the LoRAs of `learnable`."""
    merged = learnable(models, defences=defences)
    return fold(merged, adapted_backbone(merged).weights())


@dataclass(frozen=True, kw_only=True)
class MergeWeights(Tuning):
    """Train only the weights of a merge."""

    def prepare(self, model: Classifier) -> Classifier:
        """Freeze all but the weights."""
        backbone = adapted_backbone(model)
        model.requires_grad_(False)
        backbone.get_parameter("logits").requires_grad_(True)
        return model

    def attacked(self, model: Classifier) -> AbstractContextManager[None]:
        """Merge once, for all steps of the attack."""
        return adapted_backbone(model).under_attack()

    def export(self, model: Classifier) -> Classifier:
        """Fold the merge into the weights: a plain ViT."""
        return fold(model, adapted_backbone(model).weights())
