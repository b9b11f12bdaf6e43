"""PMG-AFT: pre-trained model guided adversarial fine-tuning.

Wang, Zhang, Yuan, Shan. Pre-trained Model Guided Fine-Tuning for Zero-Shot Adversarial Robustness. CVPR 2024,
pp. 24502-24511. arXiv 2401.04350.

| paper | here |
| --- | --- |
| z_theta, s, text embeddings | the model under `robustft.models.backbones.clip:ZeroShot` |
| P_theta(x), P_theta(x_a): softmax over the training classes | `clean`, `adversarial`, as logits |
| P_0(x_a), frozen original CLIP, the same adversarial image | `teacher`, as logits |
| L_robust (alone: TeCoA) | term "cross_entropy" |
| alpha L_general | term "general" |
| beta L_clean | term "clean" |

Deviations (texts in config/papers/pmg_aft/paper.yaml): kl_directions, kl_mean, scale_kept, attack_sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from robustft.attacks.inner_maximization import attack_mode, maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget
from robustft.attacks.pmg_aft import pgd_autocast
from robustft.errors import ConfigError
from robustft.methods.protocol import Loss, Method, PretrainingContext
from robustft.models.classifier import Classifier
from robustft.models.teacher import WithTeacher


@dataclass(frozen=True, kw_only=True)
class PmgAft(Method):
    """CE(z(x_a), y) + alpha KL(P_0(x_a) || P(x_a)) + beta KL(P(x) || P(x_a)).

    The sources disagree about the rest:
    general_from: whose probabilities weight L_general: "teacher" is KL(P_0 || P), "student" is KL(P || P_0).
    clean_from: the same for L_clean: "clean" is KL(P(x) || P(x_a)), "adversarial" is KL(P(x_a) || P(x)).
    kl_reduction: over the images of a batch; with "sum", as released, alpha and beta grow with its size.
    attack_gradient: "summed" is PGD on each image's own loss; "mean_float16", as released, on the mean loss of the
        batch in float16, where many gradients round to zero.
    """

    alpha: float
    beta: float
    general_from: Literal["teacher", "student"]
    clean_from: Literal["clean", "adversarial"]
    kl_reduction: Literal["mean", "sum"]
    attack_gradient: Literal["summed", "mean_float16"] = "summed"

    def __post_init__(self) -> None:
        for name, allowed in (
            ("general_from", ("teacher", "student")),
            ("clean_from", ("clean", "adversarial")),
            ("kl_reduction", ("mean", "sum")),
            ("attack_gradient", ("summed", "mean_float16")),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {allowed}, not {getattr(self, name)!r}")

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        """Keep a frozen copy of the model as the teacher."""
        return WithTeacher(model)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on the cross-entropy of the model in training alone, from a uniform start."""
        if self.attack_gradient == "mean_float16":
            with attack_mode(model, x):
                return pgd_autocast(
                    model,
                    x,
                    y,
                    threat=budget.threat,
                    generator=generator,
                    steps=budget.steps,
                    step_over_eps=str(budget.step_over_eps),
                )
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the three terms; gradients reach the model through clean and adversarial images."""
        assert isinstance(model, WithTeacher)
        clean, adversarial = model(x), model(x_adv)
        with torch.no_grad():
            teacher = model.teacher(x_adv)
        general = (teacher, adversarial) if self.general_from == "teacher" else (adversarial, teacher)
        cleaned = (clean, adversarial) if self.clean_from == "clean" else (adversarial, clean)
        return Loss(
            {
                "cross_entropy": cross_entropy(adversarial, y).mean(),
                "general": self.alpha * self._reduced(kl_divergence(*general)),
                "clean": self.beta * self._reduced(kl_divergence(*cleaned)),
            }
        )

    def export(self, model: Classifier) -> Classifier:
        """Leave the teacher behind."""
        assert isinstance(model, WithTeacher)
        return model.alone()

    def _reduced(self, values: Tensor) -> Tensor:
        return values.mean() if self.kl_reduction == "mean" else values.sum()
