"""Training steps written plainly from the papers' equations, as many papers ship them: what ours is timed against.

The attack is `loss.backward()`, so that every parameter that requires a gradient gets one at each step of it, or with
`input_gradients` it is `torch.autograd.grad(loss, x_adv)`, as many released codes have it. All is float32 and
contiguous; images come from a DataLoader of tensors in memory; the optimiser is torch's own; the loss is read (`item`)
at each step. The attack sees the model in evaluation mode, the loss in training mode, as ours.

Each step is a class of `start`, `objective` (of the attack) and `loss`. Three strengths:

| | |
| --- | --- |
| plain | `requires_grad` stays True on everything, trained or not |
| careful | what the method does not train has `requires_grad` False |
| input gradients | careful, and the attack asks for the gradient of the images alone |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.textbook_models import TwoBatchNorms

Objective = Callable[[Tensor], Tensor]


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images (n, C, H, W) uint8 in memory, one by one as float32 in [0, 1] with their labels."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.pixels[index].float() / 255, int(self.labels[index])


def loader(
    pixels: Tensor, labels: Tensor, *, batch_size: int, order: Iterable[int], workers: int = 0, pinned: bool = False
) -> DataLoader[tuple[Tensor, int]]:
    """Return a DataLoader over the pictures in the given order, which may have no end."""
    pictures = Pictures(pixels, labels)
    return DataLoader(pictures, batch_size=batch_size, sampler=order, num_workers=workers, pin_memory=pinned)


@dataclass(frozen=True)
class Attack:
    """Linf PGD: eps, the length of a step, and how many, in pixel units."""

    eps: float
    step: float
    steps: int


class Madry:
    """PGD adversarial training (Madry et al., ICLR 2018): min CE(f(x'), y), x' by PGD on CE from a uniform start.

    Args:
        model: the network.
        trained: the parameters that the optimiser updates.
        attack: the budget of the attack.
        careful: whether the other parameters have `requires_grad` False.
        recipe: lr, momentum and weight_decay of SGD.
        input_gradients: whether the attack asks for the gradient of the images alone.
        precision: of autocast: torch.float32 (off) or torch.bfloat16.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        trained: Sequence[nn.Parameter],
        attack: Attack,
        careful: bool,
        recipe: Mapping[str, Any],
        input_gradients: bool = False,
        precision: torch.dtype = torch.float32,
    ) -> None:
        self.model, self.budget, self.precision = model, attack, precision
        self.input_gradients = input_gradients
        if careful:
            model.requires_grad_(False)
            for parameter in trained:
                parameter.requires_grad_(True)
        self.optimizer = torch.optim.SGD(
            trained, lr=recipe["lr"], momentum=recipe["momentum"], weight_decay=recipe["weight_decay"]
        )
        self.iterates: list[Tensor] = []
        """The start and the images after each step of the last attack."""

    def train_step(self, x: Tensor, y: Tensor, draws: torch.Generator) -> float:
        """Take one step on a batch from the loader and return its loss."""
        device = next(self.model.parameters()).device
        x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.precision == torch.bfloat16):
            self.model.eval()
            x_adv = self.attack(x, y, draws)
            self.model.train()
            loss = self.loss(x, x_adv, y)
        self.optimizer.zero_grad()
        self.model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()

    def attack(self, x: Tensor, y: Tensor, draws: torch.Generator) -> Tensor:
        """Return adversarial images."""
        return self.ascend(x, self.start(x, draws), self.objective(x, y))

    def start(self, x: Tensor, draws: torch.Generator) -> Tensor:
        """Return where the attack starts: uniform in the ball."""
        noise = torch.rand(x.shape, generator=draws, device=x.device, dtype=x.dtype)
        return x + (2 * noise - 1) * self.budget.eps

    def objective(self, x: Tensor, y: Tensor) -> Objective:
        """Return what the attack raises, of logits."""
        return lambda logits: F.cross_entropy(logits, y)

    def loss(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the loss that the weights descend."""
        return F.cross_entropy(self.model(x_adv), y)

    def ascend(self, x: Tensor, start: Tensor, objective: Objective) -> Tensor:
        """Return the last iterate of PGD on `objective(f(x'))`."""
        eps = self.budget.eps
        low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
        x_adv = torch.clamp(start, low, high)
        self.iterates = [x_adv]
        for _ in range(self.budget.steps):
            x_adv.requires_grad_(True)
            gradient = self.gradient(objective, x_adv)
            x_adv = torch.clamp(x_adv.detach() + self.budget.step * gradient.sign(), low, high)
            self.iterates.append(x_adv)
        return x_adv

    def gradient(self, objective: Objective, x_adv: Tensor) -> Tensor:
        """Return the gradient of the objective with respect to the images."""
        self.model.zero_grad()
        loss = objective(self.model(x_adv))
        if self.input_gradients:
            return torch.autograd.grad(loss, x_adv)[0]
        loss.backward()  # type: ignore[no-untyped-call]
        assert x_adv.grad is not None
        return x_adv.grad


def kl(target: Tensor, logits: Tensor) -> Tensor:
    """Return the mean over images of KL(softmax(target) || softmax(logits))."""
    return F.kl_div(F.log_softmax(logits, 1), F.softmax(target, 1), reduction="batchmean")


class Trades(Madry):
    """TRADES (Zhang et al., ICML 2019): min CE(f(x), y) + beta KL(f(x) || f(x')), x' by PGD on the KL."""

    beta = 6.0

    def start(self, x: Tensor, draws: torch.Generator) -> Tensor:
        """Return x with a little Gaussian noise."""
        return x + 0.001 * torch.randn(x.shape, generator=draws, device=x.device, dtype=x.dtype)

    def objective(self, x: Tensor, y: Tensor) -> Objective:
        """Return the KL from the clean images' logits."""
        with torch.no_grad():
            clean = self.model(x)
        return lambda logits: kl(clean, logits)

    def loss(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return both terms, which make a clean pass each, as in the authors' code."""
        clean, robust, again = self.model(x), self.model(x_adv), self.model(x)
        return F.cross_entropy(clean, y) + self.beta * kl(again, robust)


class Twins(Madry):
    """TWINS-AT (Liu et al., CVPR 2023): CE of the frozen net on half of the batch, of the adaptive on the other."""

    def use(self, *, adaptive: bool) -> None:
        """Choose the net that acts."""
        for module in self.model.modules():
            if isinstance(module, TwoBatchNorms):
                module.adaptive = adaptive

    def loss(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the sum over both nets, each of which makes its own pass."""
        half = (len(x) + 1) // 2
        self.use(adaptive=False)
        frozen = F.cross_entropy(self.model(x_adv[:half]), y[:half])
        self.use(adaptive=True)
        return frozen + F.cross_entropy(self.model(x_adv[half:]), y[half:])


class Adapt(Madry):
    """ADAPT-CE (Eskandar et al., TMLR 2025): min CE(f(x), y) + beta CE(f(x'), y), the attack seeing the prompts."""

    beta = 1.0

    def loss(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return both terms."""
        return F.cross_entropy(self.model(x), y) + self.beta * F.cross_entropy(self.model(x_adv), y)


class PmgAft(Madry):
    """PMG-AFT (Wang et al., CVPR 2024): CE(f(x'), y) + alpha KL(f0(x') || f(x')) + beta KL(f(x) || f(x'))."""

    alpha = beta = 1.0
    teacher: nn.Module
    """f0, the pre-trained model, frozen."""

    def loss(self, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """Return the three terms."""
        clean, adversarial = self.model(x), self.model(x_adv)
        with torch.no_grad():
            teacher = self.teacher(x_adv)
        robust = F.cross_entropy(adversarial, y)
        return robust + self.alpha * kl(teacher, adversarial) + self.beta * kl(clean, adversarial)
