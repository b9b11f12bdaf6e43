"""A classifier that goes on answering the task that it was pre-trained on."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from robustft.models.classifier import Classifier
from robustft.parallel.sharded_batch import sharded_forward


class WithSource(Classifier):
    """A classifier with a second head on its features: a copy of its source's, trained along.

    `source` is the pre-trained model as it was. It is no submodule: not trained, not saved, never in training mode.
    """

    source: Classifier
    auxiliary_classes: Tensor | None
    """Which classes of the source are rehearsed, (c,) int64; None for all."""

    def __init__(self, model: Classifier, source: Classifier) -> None:
        super().__init__(model.normalise, model.backbone, model.head)
        self.source_head: nn.Module = copy.deepcopy(source.head).requires_grad_(True)
        self.__dict__["source"] = source  # past nn.Module, which would register it
        self.auxiliary_classes = None

    @sharded_forward
    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of the own task (n, K) and of the source's (n, S), from one pass."""
        features = self.features(x)
        return self.head(features), self.source_head(features)

    def answering_source(self) -> Classifier:
        """Return a view of this model, sharing its weights, whose logits are the source's."""
        view = Classifier(self.normalise, self.backbone, self.source_head)
        view.optimizations = self.optimizations
        return view

    def without_source(self) -> Classifier:
        """Return the classifier alone."""
        return Classifier(self.normalise, self.backbone, self.head)
