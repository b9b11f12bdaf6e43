"""Adversarial self-supervised pre-training: Selfie, Rotation, Jigsaw, and all three in one network.

Chen, Liu, Chang, Cheng, Amini, Wang. Adversarial Robustness: From Self-Supervised Pre-Training to Fine-Tuning.
CVPR 2020, pp. 699-708. arXiv 2003.12862.

| paper | here |
| --- | --- |
| theta_p, theta_pc | `backbone.trunk`, the rest of the network (`pipeline/models/`: pretext, selfie, ensemble) |
| Rotation: one of four angles | `Rotation.pretext` |
| Jigsaw: one of 31 orders of 4x4 patches | `Jigsaw.pretext` |
| Selfie: which patch is in which of 4 hidden cells | `Selfie.on_step_start`, `AttentionPooling` |
| mean of clean and adversarial loss | `clean`, `adversarial` |
| G, unit input gradients of the three tasks | `gradient_diversity` |
| h = mean log det(G^T G + 1e-5 I) | `diversity` * h in the loss, `attack_diversity` * h in the attack |
| order of the passes (train_adv_{rotation,jigsaw,selfie}.py, ensemble_pretrain.py) | `passes` |

The losses are plain cross-entropies; the released code applies softmax before them. The text of the paper's method
section could not be read, so symbols follow its Figure 2 and the released code.

Deviations (texts in config/papers/adv_ss_pretraining/paper.yaml): plain_cross_entropy, evaluation_mode_attacks,
diversity_sign, selfie_evaluation_split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier
from robustft.models.passes import Pass, check_passes, logits_by_pass
from robustft.models.self_supervised.pretext import cut, join, permutations
from robustft.models.self_supervised.three_tasks import TASKS, of_task

RIDGE = 1e-5
"""What is added to the diagonal of G^T G (released code)."""

TEST_SPLIT_SEED = 0
"""Of the split into context and target patches at test time."""

ENSEMBLE_PASSES = (
    "jigsaw_clean", "jigsaw_adversarial",
    "rotation_adversarial", "rotation_clean",
    "selfie_clean", "selfie_adversarial",
)  # fmt: skip
"""The order of passes of ensemble_pretrain.py."""


@dataclass(frozen=True, kw_only=True)
class _Pretext(Method):
    """clean * E[ l(f(x), y) ] + adversarial * E[ max_delta l(f(x + delta), y) ] on a task's own inputs x, targets y.

    Adversarial pre-training has weights 0.5 and 0.5, standard pre-training 1 and 0. `passes` is the order in which the
    loss passes images, which running statistics depend on.
    """

    clean: float
    adversarial: float
    passes: Sequence[Pass] = ("adversarial", "clean")

    def __post_init__(self) -> None:
        check_passes(self.passes)
        if not self.clean and not self.adversarial:
            raise ValueError("a loss needs clean or adversarial images: one of the two weights must not be 0")

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on the task's loss from a uniform start, the model in evaluation mode; nothing if no loss looks at it."""
        if not self.adversarial:
            return x
        with attack_mode(model, x):
            objective = partial(_task_loss, y=y)
            return pgd(model, x, budget=budget, objective=objective, start="uniform", generator=generator)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the two mean losses; images of weight 0 do not pass the model, nor enter its batch statistics."""
        weights = {"clean": self.clean, "adversarial": self.adversarial}
        passes = [name for name in self.passes if weights[name]]
        logits = logits_by_pass(model, passes, x=x, x_adv=x_adv)
        return Loss({name: weights[name] * _task_loss(logits[name], y).mean() for name in weights if name in logits})


def _task_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Return the cross-entropy of each image, summed over its targets: (n, K[, T]), (n[, T]) -> (n,)."""
    return cross_entropy(logits, y).reshape(len(y), -1).sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class Rotation(_Pretext):
    """By which angle has the image been turned? Needs square images."""

    def pretext(self, x: Tensor, y: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Turn each image by 0, 90, 180 or 270 degrees, each angle as often as the others; return angles (n,)."""
        angle = torch.randperm(len(x), generator=generator, device=x.device) % 4
        turned = torch.stack([x.rot90(k, dims=(2, 3)) for k in range(4)])
        return turned[angle, torch.arange(len(x), device=x.device)], angle


@dataclass(frozen=True, kw_only=True)
class Jigsaw(_Pretext):
    """In which order are the patches? `table` describes the permutations: {grid, count, seed, sha256}.

    identity: the share of images whose order is forced to be the true one; others may draw it too.
    """

    table: Mapping[str, Any]
    identity: float

    def pretext(self, x: Tensor, y: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rearrange each image by a permutation drawn uniformly, or by the identity; return their numbers (n,)."""
        table, grid = permutations(self.table).to(x.device), self.table["grid"]
        drawn = torch.randint(len(table), (len(x),), generator=generator, device=x.device)
        forced = torch.rand(len(x), generator=generator, device=x.device) < self.identity
        order = drawn.masked_fill(forced, 0)
        return join(cut(x, grid)[torch.arange(len(x), device=x.device)[:, None], table[order]], grid), order


@dataclass(frozen=True, kw_only=True)
class Selfie(_Pretext):
    """Which of `targets` patches is in which of as many hidden cells? The loss sums over the cells.

    The image itself is perturbed: context and target patches together. At test time one split is fixed.
    """

    targets: int
    passes: Sequence[Pass] = ("clean", "adversarial")

    def on_step_start(self, model: Classifier, *, generator: torch.Generator) -> None:
        """Split the patches into context and targets, once for the whole batch."""
        model.head.draw(generator)  # type: ignore[operator]

    def pretext(self, x: Tensor, y: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the images as they are, and for each that cell k holds patch k (n, T)."""
        return x, torch.arange(self.targets, device=x.device).expand(len(x), -1)

    def export(self, model: Classifier) -> Classifier:
        """Fix the split of test time."""
        model.head.draw(torch.Generator().manual_seed(TEST_SPLIT_SEED))  # type: ignore[operator]
        return model


@dataclass(frozen=True, kw_only=True)
class EnsemblePretraining(Method):
    """The mean of three tasks' clean and adversarial losses, + diversity * h; PGD ascends l_t + attack_diversity * h.

    x is (n, 3, C, H, W), the three tasks' inputs, each with a perturbation of its own; y is (n, T + 2) and logits are
    (n, K, T + 2), where T cells are Selfie's. Both weights of h are positive in the released code: the attacker turns
    the gradients apart and the model turns them together. `passes` is the order of the six passes of the loss, which
    the trunk's running statistics depend on.
    """

    clean: float
    adversarial: float
    diversity: float
    attack_diversity: float
    targets: int
    table: Mapping[str, Any]
    identity: float
    passes: Sequence[str] = ENSEMBLE_PASSES

    def __post_init__(self) -> None:
        if sorted(self.passes) != sorted(ENSEMBLE_PASSES):
            raise ValueError(f"passes must be {', '.join(ENSEMBLE_PASSES)} in some order, not {list(self.passes)}")

    def on_step_start(self, model: Classifier, *, generator: torch.Generator) -> None:
        """Split Selfie's patches."""
        model.head.selfie.draw(generator)  # type: ignore[union-attr, operator]

    def pretext(self, x: Tensor, y: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the three tasks' inputs and all their targets."""
        weights: dict[str, Any] = {"clean": self.clean, "adversarial": self.adversarial}
        tasks = (
            Selfie(**weights, targets=self.targets),
            Jigsaw(**weights, table=self.table, identity=self.identity),
            Rotation(**weights),
        )
        inputs, targets = zip(*(task.pretext(x, y, generator=generator) for task in tasks), strict=True)
        return torch.stack(inputs, dim=1), torch.cat([target.reshape(len(x), -1) for target in targets], dim=1)

    def score(self, correct: Tensor) -> Tensor:
        """Return the mean of the three tasks, each with equal weight: (n, T + 2), of which T cells are Selfie's."""
        right = correct.double()
        return torch.stack([right[:, :-2].mean(dim=1), right[:, -2], right[:, -1]], dim=1).mean(dim=1)

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on each input's own loss and the gradients' diversity, from uniform starts, in evaluation mode."""

        def ascended(x_adv: Tensor) -> Tensor:
            losses = _three_losses(model(x_adv), y)
            if not self.attack_diversity:
                return losses
            return losses.sum(dim=1) + self.attack_diversity * gradient_diversity(_input_gradients(losses, x_adv))

        # One row for each input, so that every input has a ball of its own; losses of other inputs add no gradient.
        with attack_mode(model, x):
            x_adv = pgd(
                lambda rows: rows.reshape(x.shape),
                x.flatten(0, 1),
                budget=budget,
                objective=ascended,
                start="uniform",
                generator=generator,
            )
        return x_adv.reshape(x.shape)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return each task's two mean losses and the weighted mean of h, differentiable to second order."""
        x_adv = x_adv.detach().requires_grad_(bool(self.diversity))
        losses = self._losses(model, {"clean": x, "adversarial": x_adv}, y)
        terms = {}
        for task in TASKS:
            terms[f"{task}_clean"] = self.clean * losses[f"{task}_clean"].mean() / len(TASKS)
            terms[f"{task}_adversarial"] = self.adversarial * losses[f"{task}_adversarial"].mean() / len(TASKS)
        if self.diversity:
            adversarial = torch.stack([losses[f"{task}_adversarial"] for task in TASKS])
            h = gradient_diversity(_input_gradients(adversarial, x_adv)).mean()
            terms["diversity"] = self.diversity * h
        return Loss(terms)

    def _losses(self, model: Classifier, images: Mapping[str, Tensor], y: Tensor) -> dict[str, Tensor]:
        """Return each pass's loss of each image, (n,), in the order of `passes`."""
        labels = {"selfie": y[:, :-2], "jigsaw": y[:, -2], "rotation": y[:, -1]}
        losses = {}
        for name in self.passes:
            task, kind = name.split("_")
            logits = of_task(model, task)(images[kind][:, TASKS.index(task)])
            losses[name] = _task_loss(logits, labels[task])
        return losses

    def export(self, model: Classifier) -> Classifier:
        """Fix Selfie's split of test time."""
        model.head.selfie.draw(torch.Generator().manual_seed(TEST_SPLIT_SEED))  # type: ignore[union-attr, operator]
        return model


def _three_losses(logits: Tensor, y: Tensor) -> Tensor:
    """Return each task's loss of each image, (n, 3) in the order of TASKS: Selfie's is the sum over its cells."""
    each = cross_entropy(logits, y)
    return torch.stack([each[:, :-2].sum(dim=1), each[:, -2], each[:, -1]], dim=1)


def _input_gradients(losses: Tensor, x: Tensor) -> Tensor:
    """Return the gradient of each task's loss with respect to its own input, (n, 3, C, H, W), still differentiable."""
    with torch.enable_grad():
        return torch.autograd.grad(losses.sum(), x, create_graph=True)[0]


def gradient_diversity(gradients: Tensor) -> Tensor:
    """Return log det(G^T G + 1e-5 I) for each image, (n,): gradients (n, T, ...), of which G has T unit columns.

    About 0 if the T gradients are orthogonal; log((T + 1e-5) 1e-5^(T - 1)), -21.93 for three, if they are parallel.
    """
    unit = F.normalize(gradients.flatten(2), dim=2)
    return torch.logdet(unit @ unit.transpose(1, 2) + RIDGE * torch.eye(unit.shape[1], dtype=unit.dtype).to(unit))
