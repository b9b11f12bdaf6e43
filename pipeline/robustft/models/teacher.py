"""A model in training that carries a frozen copy of the model it started from: a teacher."""

from __future__ import annotations

import copy

from robustft.models.classifier import Classifier
from robustft.models.tunings.protocol import Frozen


class WithTeacher(Classifier):
    """A classifier with a `teacher`, in evaluation mode and never trained, that has no part in its own logits.

    The teacher is among the saved tensors, so that training resumed elsewhere has the same one.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__(model.normalise, model.backbone, model.head)
        self._teacher = Frozen(copy.deepcopy(model))
        self.train(model.training)

    @property
    def teacher(self) -> Classifier:
        """The model as it was when training began."""
        teacher: Classifier = self._teacher.inner  # type: ignore[assignment]
        return teacher

    def alone(self) -> Classifier:
        """Return the trained model without its teacher, sharing all weights."""
        model = Classifier(self.normalise, self.backbone, self.head)
        model.training = self.training  # its own flag only: the parts are shared and keep theirs
        return model
