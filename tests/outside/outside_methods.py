"""Methods of other papers, written against the protocol alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.pgd import Budget
from robustft.methods.protocol import Loss, Method, PretrainingContext, Wrapping
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class Adversarial(Method):
    """PGD on cross-entropy, which the methods below share."""

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        return maximise_cross_entropy(model, x, y, budget=budget, generator=generator)


@dataclass(frozen=True, kw_only=True)
class Awp(Adversarial):
    """Adversarial weight perturbation (Wu, Xia, Wang, NeurIPS 2020), one step: min CE(f_{w+v}(x_adv)).

    v = size * |w| * g / |g| for each weight tensor of two dimensions or more, g the gradient of the loss at w. The
    network is called with w + v, so the gradient arrives at w itself and nothing has to be undone.
    """

    size: float

    def perturbed(self, model: Classifier, x_adv: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return each weight of the network, moved to where the loss is larger."""
        weights = {name: p for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1}
        # With copies of the buffers: this pass moves no running statistics.
        logits = functional_call(model, {name: one.clone() for name, one in model.named_buffers()}, (x_adv,))
        gradients = torch.autograd.grad(cross_entropy(logits, y), list(weights.values()))
        return {
            name: w + self.size * w.detach().norm() * g / (g.norm() + 1e-12)
            for (name, w), g in zip(weights.items(), gradients, strict=True)
        }

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        logits = functional_call(model, self.perturbed(model, x_adv, y), (x_adv,))
        return Loss({"cross_entropy": cross_entropy(logits, y)})


@dataclass(frozen=True)
class Ema(Wrapping):
    """Any method, tested with an exponential moving average of its weights."""

    decay: float

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        prepared = super().prepare(model, start)
        prepared.average = copy.deepcopy(prepared).requires_grad_(False)
        return prepared

    def after_step(self, model: Classifier) -> None:
        super().after_step(model)
        average = model.average.state_dict()
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if name in average and value.is_floating_point():
                    average[name].lerp_(value, 1 - self.decay)
                elif name in average:
                    average[name].copy_(value)

    def export(self, model: Classifier) -> Classifier:
        return super().export(model.average)


class Branched(nn.Module):
    """A convolution with a branch of low rank, which is on for natural images."""

    def __init__(self, convolution: nn.Conv2d, rank: int) -> None:
        super().__init__()
        one = convolution
        self.convolution, self.on = one, False
        self.down = nn.Conv2d(one.in_channels, rank, one.kernel_size, one.stride, one.padding, bias=False)
        self.up = nn.Conv2d(rank, one.out_channels, 1, bias=False)
        self.to(one.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x) + self.up(self.down(x)) if self.on else self.convolution(x)


@dataclass(frozen=True, kw_only=True)
class AutoLora(Adversarial):
    """AutoLoRa (Xu, Zhang, Kankanhalli, ICLR 2024): natural images pass through a branch, adversarial ones do not.

    min natural CE(f_branch(x)) + (1 - natural) CE(f(x_adv)) + pairing KL(f_branch(x) || f(x_adv)); the learning rate
    falls to a share of itself when robust validation accuracy has not risen.
    """

    rank: int
    natural: float
    pairing: float
    fall: float

    def prepare(self, model: Classifier, start: PretrainingContext | None = None) -> Classifier:
        for parent in list(model.backbone.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Conv2d) and not isinstance(parent, Branched):
                    setattr(parent, name, Branched(child, self.rank))
        return model

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        branches = [module for module in model.modules() if isinstance(module, Branched)]
        for branch in branches:
            branch.on = True
        natural = model(x)
        for branch in branches:
            branch.on = False
        adversarial = model(x_adv)
        pairing = kl_div(log_softmax(adversarial, 1), softmax(natural, 1), reduction="batchmean")
        return Loss({
            "natural": self.natural * cross_entropy(natural, y),
            "adversarial": (1 - self.natural) * cross_entropy(adversarial, y),
            "pairing": self.pairing * pairing,
        })  # fmt: skip

    def end_epoch(self, model: Classifier, rows: Sequence[Mapping[str, float]]) -> float:
        watched = [row["robust_validation"] for row in rows if "robust_validation" in row]
        return self.fall if len(watched) > 1 and watched[-1] <= max(watched[:-1]) else 1.0

    def export(self, model: Classifier) -> Classifier:
        for parent in list(model.backbone.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, Branched):
                    setattr(parent, name, child.convolution)
        return model


@dataclass(frozen=True, kw_only=True)
class Friendly(Adversarial):
    """Friendly adversarial training (Zhang et al., ICML 2020): of the path of PGD the first misclassified image."""

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        found, fooled = x.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for steps in range(1, budget.steps + 1):
            path = maximise_cross_entropy(model, x, y, budget=replace(budget, steps=steps), generator=generator)
            found = torch.where(fooled.view(-1, 1, 1, 1), found, path)
            training = model.training
            model.eval()
            with torch.no_grad():
                fooled = fooled | (model(found).argmax(1) != y)
            model.train(training)
        return found

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        return Loss({"cross_entropy": cross_entropy(model(x_adv), y)})
