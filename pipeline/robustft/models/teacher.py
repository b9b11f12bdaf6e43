"""A model in training with a teacher: a frozen copy of the model that training started from."""

from __future__ import annotations

import copy

from robustft.models.classifier import Classifier
from robustft.models.tunings.protocol import Frozen


class WithTeacher(Classifier):
    """A classifier with a `teacher`, which is in evaluation mode and never trained. Its logits do not use the teacher.

    The teacher is part of the state dict, so that a resumed training has the same one.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__(model.normalise, model.backbone, model.head)
        self._teacher = Frozen(copy.deepcopy(model))
        self.train(model.training)

    @property
    def teacher(self) -> Classifier:
        """The model at the start of training."""
        teacher: Classifier = self._teacher.inner  # type: ignore[assignment]
        return teacher

    def alone(self) -> Classifier:
        """Return the trained model without its teacher, sharing all weights."""
        model = Classifier(self.normalise, self.backbone, self.head)
        model.training = self.training  # of this module only: the shared parts keep their modes
        return model
