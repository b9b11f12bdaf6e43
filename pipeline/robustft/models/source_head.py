"""A classifier with a second head for the task that it was pre-trained on."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from robustft.models.classifier import Classifier
from robustft.parallel.sharded_batch import sharded_forward


class WithSource(Classifier):
    """A classifier with a second head on its features: a copy of the source model's head, trained too.

    `source` is the pre-trained model, unchanged. It is no submodule: not trained, not saved, never in training mode.
    """

    source: Classifier
    auxiliary_classes: Tensor | None
    """The source classes of the auxiliary batches, (c,) int64; None for all."""

    def __init__(self, model: Classifier, source: Classifier) -> None:
        super().__init__(model.normalise, model.backbone, model.head)
        self.source_head: nn.Module = copy.deepcopy(source.head).requires_grad_(True)
        self.__dict__["source"] = source  # nn.Module.__setattr__ would register it as a submodule
        self.auxiliary_classes = None

    @sharded_forward
    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the target task (n, K) and of the source task (n, S), from one pass."""
        features = self.features(x)
        return self.head(features), self.source_head(features)

    def answering_source(self) -> Classifier:
        """Return a classifier of the source task that shares all weights with this model."""
        view = Classifier(self.normalise, self.backbone, self.source_head)
        view.optimizations = self.optimizations
        return view

    def without_source(self) -> Classifier:
        """Return the classifier of the target task, sharing all weights."""
        return Classifier(self.normalise, self.backbone, self.head)
