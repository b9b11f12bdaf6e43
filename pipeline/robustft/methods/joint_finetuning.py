"""Joint fine-tuning: the target task together with the one that the model was pre-trained on.

Liu, Xu, Xu, Qian, Li, Ji, Chan, Jin. Improved Fine-Tuning by Better Leveraging Pre-Training Data. NeurIPS 2022: joint
training in equal parts on source classes chosen by unbalanced optimal transport, with weight 0.3.

TWINS names the baseline and released no code of it but leftovers: the weight 0.3, and a second attack, on the source
head, at half eps and half the step. Deviations (texts in config/papers/twins/paper.yaml): joint_one_pass,
joint_classes, source_head_trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method, PretrainingContext
from robustft.models.class_selection import class_means, most_similar_classes
from robustft.models.classifier import Classifier
from robustft.models.source_head import WithSource


@dataclass(frozen=True, kw_only=True)
class JointFinetuning(Method):
    """CE(f(x'), y) over target images + weight * CE(f_o(z'), u) over as many source images (z, u), f_o the old head.

    selection: which `classes` source classes are used. "transport": those that resemble the target's most, by the
    pre-trained model's features; "random": drawn at the run's start, the control for it.
    """

    uses_source: ClassVar[bool] = True
    uses_auxiliary: ClassVar[bool] = True

    weight: float
    selection: Literal["transport", "random"]
    classes: int

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Keep the source's head beside the new one and choose the source classes."""
        if start is None or start.source is None:
            raise ValueError("there is no source to train on jointly without a pre-trained model")
        both = WithSource(model, start.source)
        sources = _classes(both.source_head)
        if self.selection == "random":
            both.auxiliary_classes = torch.randperm(sources)[: self.classes].to(next(both.parameters()).device)
        else:
            theirs = class_means(start.source.features, start.auxiliary(), sources)
            ours = class_means(start.source.features, start.target(), _classes(model.head))
            both.auxiliary_classes = most_similar_classes(theirs, ours, count=self.classes)
        return both

    def auxiliary_classes(self, model: Classifier) -> Tensor | None:
        """Return the source classes chosen."""
        return cast(WithSource, model).auxiliary_classes

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on each image's own task; on the source's with half eps, so half the step."""
        model = cast(WithSource, model)
        milder = replace(budget, threat=replace(budget.threat, eps=budget.threat.eps / 2))
        classes = _classes(model.head)
        target, source = _places(y, classes)
        x_adv = x.clone()
        tasks = ((target, model, budget, y), (source, model.answering_source(), milder, y - classes))
        for own, network, allowed, labels in tasks:
            if len(own):
                x_adv[own] = maximise_cross_entropy(network, x[own], labels[own], budget=allowed, generator=generator)
        return x_adv

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return both tasks' mean cross-entropies on adversarial images, from one pass.

        Each sum is divided by half of the batch, which is each task's share, however a batch is cut among processes.
        """
        logits, remembered = cast(WithSource, model).both(x_adv)
        classes, half = logits.shape[1], len(y) / 2
        target, source = _places(y, classes)
        return Loss(
            {
                "cross_entropy": cross_entropy(logits[target], y[target]).sum() / half,
                "source": self.weight * cross_entropy(remembered[source], y[source] - classes).sum() / half,
            }
        )

    def export(self, model: Classifier) -> Classifier:
        """Drop the source's head."""
        return cast(WithSource, model).without_source()


def _places(y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return the places of target and of source images in a batch: found once, where each mask would stop a GPU."""
    source = y >= classes
    return (~source).nonzero().squeeze(1), source.nonzero().squeeze(1)


def _classes(head: nn.Module) -> int:
    return cast(nn.Linear, head).out_features
