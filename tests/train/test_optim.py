from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.train.optim import build_optimizer, learning_rate

STEPS = {"schedule": "steps", "lr": 0.1, "milestones": [2, 4], "gamma": 0.5, "epochs": 6}
COSINE = {"schedule": "cosine", "lr": 0.1, "epochs": 4}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.1),
        (19, 0.1),  # epoch 1.9
        (20, 0.05),  # epoch 2.0: the first step of the third epoch already has it
        (39, 0.05),
        (40, 0.025),
        (59, 0.025),
    ],
)
def test_the_step_schedule_by_hand(step, expected):
    assert learning_rate(STEPS, step=step, steps_per_epoch=10) == pytest.approx(expected, abs=1e-17)


def test_the_published_recipe_of_twins_drops_at_epochs_30_and_50():
    # 391 steps an epoch: 50,000 images in batches of 128.
    recipe = {"schedule": "steps", "lr": 0.003, "milestones": [30, 50], "gamma": 0.1, "epochs": 60}
    rates = [learning_rate(recipe, step=391 * epoch, steps_per_epoch=391) for epoch in (0, 29, 30, 49, 50, 59)]
    assert rates == pytest.approx([3e-3, 3e-3, 3e-4, 3e-4, 3e-5, 3e-5])


def test_milestones_may_be_written_in_any_order():
    shuffled = {**STEPS, "milestones": [4, 2]}
    for step in range(60):
        assert learning_rate(shuffled, step=step, steps_per_epoch=10) == learning_rate(
            STEPS, step=step, steps_per_epoch=10
        )


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.1),
        (5, 0.1 * (1 + 0.5**0.5) / 2),  # epoch 1 of 4: cos(pi/4)
        (10, 0.05),  # half way: cos(pi/2) = 0
        (15, 0.1 * (1 - 0.5**0.5) / 2),
        (20, 0.0),
    ],
)
def test_the_cosine_schedule_by_hand(step, expected):
    assert learning_rate(COSINE, step=step, steps_per_epoch=5) == pytest.approx(expected, abs=1e-16)


def test_the_constant_schedule():
    recipe = {"schedule": "constant", "lr": 0.1, "epochs": 2}
    assert {learning_rate(recipe, step=step, steps_per_epoch=3) for step in range(6)} == {0.1}


class Small(nn.Module):
    """A convolution, a batch norm and a head, the convolution frozen on demand."""

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Linear(1, 1)
        for parameter in self.parameters():
            nn.init.constant_(parameter, 2.0)
        self.conv.requires_grad_(not frozen)


SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 0.5}


def stepped(model: nn.Module, recipe: dict, *, gradient: float, steps: int) -> dict[str, float]:
    optimizer = build_optimizer(model.parameters(), recipe)
    for _ in range(steps):
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
    return {name: parameter.item() for name, parameter in model.named_parameters()}


def test_weight_decay_applies_to_every_parameter_batch_norm_and_biases_among_them():
    # With no gradient at all: w <- w - lr * decay * w = 2 - 0.1 * 0.5 * 2 = 1.9.
    found = stepped(Small(), SGD, gradient=0.0, steps=1)
    assert set(found) == {"conv.weight", "conv.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"}
    assert list(found.values()) == pytest.approx([1.9] * 6)


def test_sgd_by_hand_over_two_steps():
    # g = 1 + 0.5 w. Step 1: g = 2, v = 2, w = 1.8. Step 2: g = 1.9, v = 0.9*2 + 1.9 = 3.7, w = 1.8 - 0.37 = 1.43.
    assert stepped(Small(), SGD, gradient=1.0, steps=2)["head.weight"] == pytest.approx(1.43)


def test_nesterov_by_hand():
    # Step 1: g = 2, v = 2, step g + 0.9 v = 3.8: w = 2 - 0.38.
    assert stepped(Small(), {**SGD, "nesterov": True}, gradient=1.0, steps=1)["head.weight"] == pytest.approx(1.62)


def test_adamw_by_hand():
    # Decoupled decay 2 * (1 - 0.1 * 0.5) = 1.9, then Adam's first step of size lr (bias-corrected m/sqrt(v) = 1).
    recipe = {"optimizer": "adamw", "lr": 0.1, "weight_decay": 0.5}
    assert stepped(Small(), recipe, gradient=1.0, steps=1)["norm.bias"] == pytest.approx(1.8, abs=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_frozen_parameter_is_left_out_and_so_not_decayed(optimizer):
    found = stepped(Small(frozen=True), {**SGD, "optimizer": optimizer}, gradient=1.0, steps=3)
    assert found["conv.weight"] == found["conv.bias"] == 2.0
    assert found["head.weight"] < 2.0
