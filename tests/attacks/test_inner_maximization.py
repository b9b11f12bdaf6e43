"""The inner problems of training: what they maximise, from where, and what they leave alone."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.inner_maximization import maximise_cross_entropy, maximise_kl, noisy_step
from robustft.attacks.objectives import cross_entropy, kl_divergence
from robustft.attacks.pgd import Budget
from robustft.attacks.threat import ThreatModel

BUDGET = Budget(ThreatModel("linf", Fraction(1, 10)), 5, Fraction(1, 2))


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def problem(tiny_model, random_batch):
    return (tiny_model(lived=True), *random_batch(12))


def adversarial(kind: str, model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    if kind == "kl":
        return maximise_kl(model, x, budget=BUDGET, generator=draws())
    if kind == "noisy":
        return noisy_step(model, x, y, budget=BUDGET, generator=draws(), noise_over_eps=2.0, step_over_eps=1.25)
    return maximise_cross_entropy(model, x, y, budget=BUDGET, generator=draws())


@pytest.mark.parametrize("kind", ["cross_entropy", "kl"])
def test_each_raises_its_own_objective_far_more_than_noise_of_the_same_size_does(kind, problem):
    model, x, y = problem
    x_adv = adversarial(kind, model.eval(), x, y)
    noisy = (x + float(BUDGET.threat.eps) * torch.randn(x.shape, generator=draws()).sign()).clamp(0, 1)

    def objective(images: torch.Tensor) -> float:
        logits, clean = model(images), model(x)
        if kind == "kl":
            return kl_divergence(clean, logits).mean().item()
        return (cross_entropy(logits, y) - cross_entropy(clean, y)).mean().item()

    assert objective(x_adv) > 3 * abs(objective(noisy)) > 0


def test_kl_needs_no_labels_and_moves_although_its_gradient_at_the_clean_image_is_zero(problem):
    """KL(f(x) || f(x')) is at its minimum, with gradient zero, at x' = x: without the noise nothing would move."""
    model, x, y = problem
    x_adv = adversarial("kl", model.eval(), x, y)
    assert (x_adv - x).flatten(1).abs().amax(1).min() > float(BUDGET.threat.eps) / 2


@pytest.mark.parametrize("kind", ["cross_entropy", "kl", "noisy"])
def test_running_statistics_are_used_and_everything_is_left_as_it_was(kind, problem):
    model, x, y = problem
    model.train()
    model.backbone.stem[1].eval()  # one layer with a mode of its own
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    in_training = adversarial(kind, model, x, y)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(in_training, adversarial(kind, model.eval(), x, y)), "the model's mode decided the images"


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_noisy_step_adds_noise_of_the_wider_ball_and_a_step_of_its_own(norm, problem):
    model, x, y = problem
    budget = Budget(ThreatModel(norm, Fraction(1, 100)), 1, Fraction(1))
    settings = {"budget": budget, "noise_over_eps": 2.0, "step_over_eps": 1.25}
    x_adv = noisy_step(model.eval(), x, y, generator=draws(), **settings)
    noise = ThreatModel(norm, Fraction(2, 100)).uniform(x, draws())
    moved = budget.threat.distance(x_adv, x + noise)  # pixels lie far enough from 0 and 1 for nothing to be clipped
    assert moved.tolist() == pytest.approx([0.0125] * len(x), rel=1e-4)
