"""A hypernetwork that generates the LoRA of every site of a ViT from the embedding of a defence.

Lv et al., arXiv 2410.05951; where the paper could not be read the design is that of HyperFormer++ (Karimi Mahabadi et
al., ACL 2021), see config/papers/hyperat/paper.yaml.

| paper | here |
| --- | --- |
| nu, embedding of a defence | `defences` |
| layer id | `layers`; and `positions`: which site of the block |
| theta = H(nu; phi) | `Hypernetwork.forward` |
| h = W0 x + alpha B A x | `weights`: W0 + alpha B A (`adapted_backbone`) |

"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from robustft.errors import ConfigError, nearest
from robustft.models.classifier import Classifier
from robustft.models.tunings.adapted_backbone import AdaptedBackbone, Factors, fold
from robustft.models.tunings.protocol import Tuning
from robustft.models.tunings.sites import SITES, blocks_of, site_shapes

INIT_STD = 0.01
"""Standard deviation of the initial weights of all linear layers (HyperFormer++, released code)."""


class Hypernetwork(nn.Module):
    """Embedding of a defence -> A and B of every site in every block.

    Concatenated embeddings of defence, layer and position -> Linear -> ReLU -> Linear -> LayerNorm -> a code; then one
    linear head for each distinct shape of A and of B. The heads of B are zero at first, and with them alpha B A.

    Each defence's embedding is a separate parameter. So a defence that takes no part in a step gets no gradient, no
    momentum and no weight decay.

    Args:
        defences: their names.
        layers: number of blocks.
        shapes: (outputs, inputs) of each site.
        rank: r.
        embedding: size of each of the three embeddings.
        hidden: width of the generator.
        code: size of the input of the heads.
    """

    def __init__(
        self,
        *,
        defences: Sequence[str],
        layers: int,
        shapes: Mapping[str, tuple[int, int]],
        rank: int,
        embedding: int,
        hidden: int,
        code: int,
    ) -> None:
        super().__init__()
        self.shapes, self.rank = dict(shapes), rank
        # A list of pairs, as torch sorts the names of a dict.
        self.defences = nn.ParameterDict([(name, nn.Parameter(torch.randn(embedding))) for name in defences])
        self.layers = nn.Parameter(torch.randn(layers, embedding))
        self.positions = nn.Parameter(torch.randn(len(shapes), embedding))
        self.generator = nn.Sequential(
            nn.Linear(3 * embedding, hidden), nn.ReLU(), nn.Linear(hidden, code), nn.LayerNorm(code, eps=1e-6)
        )
        self.heads_a = nn.ModuleDict({str(size): nn.Linear(code, rank * size) for _, size in shapes.values()})
        self.heads_b = nn.ModuleDict({str(size): nn.Linear(code, size * rank) for size, _ in shapes.values()})
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            nn.init.normal_(linear.weight, std=INIT_STD)
            nn.init.zeros_(linear.bias)
        for head in self.heads_b.values():
            assert isinstance(head, nn.Linear)
            nn.init.zeros_(head.weight)

    def forward(self, defence: str) -> Factors:
        """Return the factors of one defence."""
        layers, sites = len(self.layers), len(self.positions)
        places = (
            self.defences[defence].expand(layers, sites, -1),
            self.layers[:, None].expand(-1, sites, -1),
            self.positions[None].expand(layers, -1, -1),
        )
        codes = self.generator(torch.cat(places, dim=-1)).unbind(dim=1)
        return {
            site: (
                self.heads_a[str(inputs)](code).view(layers, self.rank, inputs),
                self.heads_b[str(outputs)](code).view(layers, outputs, self.rank),
            )
            for code, (site, (outputs, inputs)) in zip(codes, self.shapes.items(), strict=True)
        }


class HyperBackbone(AdaptedBackbone):
    """A ViT with the LoRA that a hypernetwork generates for one of its defences.

    A step of training is about one defence. `on_step_start` computes its weights. The attack of the step uses them
    detached, and the loss uses them once. A pass outside of a step uses the LoRA of `defence` and computes it.
    """

    def __init__(self, plain: nn.Module, hypernetwork: Hypernetwork, *, alpha: float) -> None:
        super().__init__(plain)
        self.hypernetwork, self.alpha = hypernetwork, alpha
        self.defence = next(iter(hypernetwork.defences))
        self.step_defence: str | None = None
        self._step_weights: dict[str, Tensor] | None = None

    def factors(self, defence: str) -> Factors:
        """Return A and alpha B of each site for a defence."""
        factors: Factors = self.hypernetwork(defence)
        return {site: (a, self.alpha * b) for site, (a, b) in factors.items()}

    def deltas(self, defence: str | None = None) -> dict[str, Tensor]:
        """Return alpha B A of each site for a defence."""
        return {site: b @ a for site, (a, b) in self.factors(defence or self.defence).items()}

    def on_step_start(self, defence: str) -> None:
        """Compute the weights of a step about `defence`. Raises ConfigError for an unknown defence."""
        names = list(self.hypernetwork.defences)
        if defence not in names:
            raise ConfigError(f"the hypernetwork has no defence '{defence}'", next_step=nearest(defence, names))
        self.step_defence, self._step_weights = defence, self.adapted(self.deltas(defence))

    @property
    def current(self) -> str:
        """The defence of the current step of training."""
        return self.step_defence or self.defence

    @contextlib.contextmanager
    def under_attack(self) -> Iterator[None]:
        """Use the weights of the step, detached."""
        with torch.no_grad():
            weights = self.adapted(self.deltas(self.current)) if self._step_weights is None else self._step_weights
        with self.acting_with({name: weight.detach() for name, weight in weights.items()}):
            yield

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """Use the weights of the step in all passes of its loss, and forget them, as the update will change them."""
        weights, self._step_weights = self._step_weights, None
        with self.acting_with(self.adapted(self.deltas(self.current)) if weights is None else weights):
            yield


def hyper_backbone(model: Classifier) -> HyperBackbone:
    """Return the model's backbone. Raises ConfigError if it has no hypernetwork."""
    if not isinstance(model.backbone, HyperBackbone):
        raise ConfigError(
            f"the model's backbone is a {type(model.backbone).__name__} without a hypernetwork",
            next_step="use robustft.models.tunings.hypernetwork:HyperLora as the method's tuning",
        )
    return model.backbone


@dataclass(frozen=True, kw_only=True)
class HyperLora(Tuning):
    """Train a hypernetwork that generates the LoRA of each defence, and the head, which the defences share.

    defence: the defence whose LoRA is used outside of a step of training; the first if not given.
    head: whether the head is trained. Specialists keep the head of the shared hypernetwork, so that they can be merged.
    The other parameters are those of `Hypernetwork`. alpha is the whole factor before B A.
    """

    defences: Sequence[str]
    rank: int
    alpha: float = 1.0
    sites: Sequence[str] = SITES
    embedding: int = 64
    hidden: int = 128
    code: int = 64
    defence: str | None = None
    head: bool = True

    attached: ClassVar[bool] = True

    def prepare(self, model: Classifier) -> Classifier:
        """Freeze the backbone and attach a hypernetwork, unless the model has one."""
        model.head.requires_grad_(self.head)
        if not isinstance(model.backbone, HyperBackbone):
            model.backbone = self._with_hypernetwork(model.backbone)
        model.backbone.defence = self.defence or self.defences[0]
        return model

    def _with_hypernetwork(self, plain: nn.Module) -> HyperBackbone:
        hypernetwork = Hypernetwork(
            defences=self.defences,
            layers=len(blocks_of(plain)),
            shapes=site_shapes(plain, self.sites),
            rank=self.rank,
            embedding=self.embedding,
            hidden=self.hidden,
            code=self.code,
        )
        weight = next(plain.parameters())
        return HyperBackbone(plain, hypernetwork.to(weight.device, weight.dtype), alpha=self.alpha)

    def attacked(self, model: Classifier) -> AbstractContextManager[None]:
        """Generate the LoRA once for all steps of the attack."""
        return hyper_backbone(model).under_attack()


def folded(models: list[Classifier], *, defence: str) -> Classifier:
    """Return the plain ViT of one defence of a hypernetwork, with the weights W0 + alpha B A."""
    (model,) = models
    backbone = hyper_backbone(model)
    with torch.no_grad():
        return fold(model, backbone.adapted(backbone.deltas(defence)))
