"""HyperAT: hyper adversarial tuning.

Lv, Cao, Tu, Xu, Zhang, Ding, Wang. Hyper Adversarial Tuning for Boosting Adversarial Robustness of Pretrained Large
Vision Models. arXiv 2410.05951, 2024.

| paper | here |
| --- | --- |
| defence i as a task, with embedding nu_i | one of `defences`, and its parameter in the hypernetwork |
| theta_i = H(nu_i; phi), its LoRA | `on_step_start`: robustft.models.tunings.hypernetwork |
| random sampling of a defence in each iteration | `on_step_start` |
| argmax over ||delta||_p <= eps of L(f(x + delta; theta_i), y) | `attack`: defence i's own, against its own network |
| defence i's objective | `loss` |
| merging the LoRAs of the defences | robustft.models.tunings.merging |

A specialist is this method with one defence, started from the shared hypernetwork. Of the paper only abstract and
introduction could be read: deviations (config/papers/hyperat/paper.yaml) lists each choice that is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method, build_method
from robustft.models.classifier import Classifier
from robustft.models.tunings.hypernetwork import hyper_backbone


@dataclass(frozen=True, kw_only=True)
class HyperAT(Method):
    """min E_i[ loss_i(f_i) ]: i uniform over `defences`, f_i the network with the LoRA of defence i.

    defences: for each name the specification {implementation, parameters} of a method.
    """

    defences: Mapping[str, Any]

    @cached_property
    def objectives(self) -> dict[str, Method]:
        """The methods that the defences are."""
        return {name: build_method({"name": name, "parameters": {}, **spec}) for name, spec in self.defences.items()}

    def on_step_start(self, model: Classifier, *, generator: torch.Generator) -> None:
        """Draw a defence and make its LoRA."""
        names = list(self.defences)
        number = torch.randint(len(names), (), generator=generator, device=generator.device).item()
        hyper_backbone(model).on_step_start(names[int(number)])

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Solve the inner problem of the step's defence."""
        defence = self.objectives[hyper_backbone(model).current]
        return defence.attack(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the loss of the step's defence."""
        backbone = hyper_backbone(model)
        with backbone.learning():
            terms = self.objectives[backbone.current].loss(model, x, x_adv, y).terms
        return Loss({f"{backbone.current}/{name}": term for name, term in terms.items()})
