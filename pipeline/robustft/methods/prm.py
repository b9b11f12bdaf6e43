"""ARD and PRM: adversarial training of vision transformers with attacks that are held back at first.

Mo, Wu, Wang, Guo, Wang. When Adversarial Training Meets Vision Transformers: Recipes from Training to Architecture.
NeurIPS 2022. arXiv 2210.07540. Details from the released code (mo666666/When-Adversarial-Training-Meets-Vision-
Transformers, commit b826030).

| paper | here |
| --- | --- |
| attention random dropping (ARD) | `attention`: `dropping_attention` |
| perturbation random masking (PRM) | `patches`: `mask_patches` |
| n_w, epochs of warm-up | `warm_up_epochs` |
| probability that a gradient or a patch is kept, from 0 to 1 within n_w epochs | `keep` |
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget
from robustft.errors import ConfigError
from robustft.methods.protocol import Loss, Method
from robustft.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True)
class ArdPrm(Method):
    """min E[ CE(f(x'), y) ] with x' of a PGD on cross-entropy whose steps are held back in the first epochs.

    attention (ARD): each block's attention branch is left out of a step's gradient with probability 1 - keep.
    patches (PRM): int(N (1 - keep)) of the N patches lose their perturbation before a step's gradient is taken.
    """

    warm_up_epochs: float
    attention: bool
    patches: bool

    def keep(self, budget: Budget) -> float:
        """Return the probability of being kept: it rises linearly from 0 to 1 over the warm-up."""
        return min(1.0, budget.epoch / self.warm_up_epochs) if self.warm_up_epochs else 1.0

    def attack(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """PGD on cross-entropy from a uniform start, held back, the model in evaluation mode."""
        keep = self.keep(budget)
        size = patch_size(model)
        dropped = int((x.shape[2] // size) * (x.shape[3] // size) * (1 - keep)) if self.patches else 0
        masked = partial(mask_patches, size=size, dropped=dropped, generator=generator) if dropped else None
        with dropping_attention(model, 1 - keep if self.attention else 0.0, generator):
            return maximise_cross_entropy(model, x, y, budget=budget, generator=generator, before_step=masked)

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the mean cross-entropy on adversarial images."""
        return Loss({"cross_entropy": cross_entropy(model(x_adv), y).mean()})


def patch_size(model: nn.Module) -> int:
    """Return the height and width in pixels of the patches that a ViT cuts images into."""
    for module in model.modules():
        if isinstance(size := getattr(module, "patch_size", None), tuple):
            return int(size[0])
    raise ConfigError("ARD and PRM are defined for vision transformers", observed=type(model).__name__)


def mask_patches(x_adv: Tensor, x: Tensor, *, size: int, dropped: int, generator: torch.Generator) -> Tensor:
    """Set `dropped` random patches of size x size of x_adv back to x, the same in all images (n, C, H, W)."""
    rows, columns = x.shape[2] // size, x.shape[3] // size
    order = torch.randperm(rows * columns, generator=generator, device=x.device)
    mask = (order >= dropped).view(rows, columns).repeat_interleave(size, 0).repeat_interleave(size, 1)
    return torch.where(mask, x_adv, x)


@contextlib.contextmanager
def dropping_attention(model: nn.Module, probability: float, generator: torch.Generator) -> Iterator[None]:
    """Leave each block's attention branch out of the gradients with a probability, drawn anew for each pass.

    What the branch computes stays the same; one draw holds for all images of the batch.
    """

    def hold_back(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        dropped = torch.rand((), generator=generator, device=output.device) < probability
        return torch.where(dropped, output.detach(), output)

    branches = [module for name, module in model.named_modules() if name.endswith(".attn")]
    handles = [branch.register_forward_hook(hold_back) for branch in branches if probability]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
