"""Learning without forgetting, for adversarial fine-tuning.

Li, Hoiem. Learning without Forgetting. ECCV 2016; TPAMI 2018. The distillation term is that of Hinton, Vinyals, Dean,
Distilling the Knowledge in a Neural Network, 2015.

| paper | here |
| --- | --- |
| theta_s, theta_o, theta_n: shared weights, old task's, new task's | backbone, `source_head`, head of `WithSource` |
| Y_o: outputs of the original network for the old task | `model.source` |
| L_new, lambda_o L_old | cross_entropy, distillation |

TWINS names this baseline and released no code of it but the default weight of a distillation term, 0.3. Deviations
(texts in config/papers/twins/paper.yaml): lwf_adversarial, lwf_temperature, source_head_trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method, PretrainingContext
from robustft.models.classifier import Classifier
from robustft.models.source_head import WithSource


@dataclass(frozen=True, kw_only=True)
class LwF(Method):
    """CE(f(x'), y) + weight * T^2 KL(softmax(o(x') / T) || softmax(f_o(x') / T)), o the pre-trained model.

    All weights are trained, the old task's head among them, as published: frozen, it would hold the features where
    they were, not the function. T^2 keeps the gradients' size whatever the temperature T.
    """

    uses_source: ClassVar[bool] = True

    weight: float
    temperature: float

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Keep the source's head beside the new one."""
        if start is None or start.source is None:
            raise ValueError("there is nothing to forget without a pre-trained model")
        return WithSource(model, start.source)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on the new task's cross-entropy from a uniform start, the model in evaluation mode."""
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return mean cross-entropy and distillation, both on the adversarial images."""
        model = cast(WithSource, model)
        logits, remembered = model.both(x_adv)
        with torch.no_grad():
            known = model.source(x_adv)
        distillation = kl_divergence(known / self.temperature, remembered / self.temperature).mean()
        return Loss(
            {
                "cross_entropy": cross_entropy(logits, y).mean(),
                "distillation": self.weight * self.temperature**2 * distillation,
            }
        )

    def export(self, model: Classifier) -> Classifier:
        """Drop the source's head."""
        return cast(WithSource, model).without_source()
