from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from robustft.errors import ConfigError
from robustft.train.optim import _uncompiled, as_laid_out, build_optimizer, learning_rate

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


WARM = {"schedule": "cosine", "lr": 0.1, "epochs": 4, "warmup_steps": 4, "lr_end": 0.02}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.025),  # 0.1 x 1/4: the first step moves
        (1, 0.05),
        (3, 0.1),
        (4, 0.1),  # 4 epochs of 5 steps: the cosine has the 16 steps after the warm-up
        (8, 0.02 + 0.08 * (1 + 0.5**0.5) / 2),  # a quarter of them: cos(pi/4)
        (12, 0.06),  # half of them: the middle of 0.1 and 0.02
        (20, 0.02),
    ],
)
def test_the_warm_up_and_the_cosine_to_an_end_by_hand(step, expected):
    assert learning_rate(WARM, step=step, steps_per_epoch=5) == pytest.approx(expected, abs=1e-16)


def test_the_warm_up_may_start_from_a_share_of_the_rate():
    # 0.1 x (0.2 + 0.8 x (step + 1) / 4)
    rates = [learning_rate({**WARM, "warmup_from": 0.2}, step=step, steps_per_epoch=5) for step in range(5)]
    assert rates == pytest.approx([0.04, 0.06, 0.08, 0.1, 0.1])


@pytest.mark.parametrize("recipe", [STEPS, {"schedule": "constant", "lr": 0.1, "epochs": 6}])
def test_a_warm_up_leaves_the_rates_after_it_as_they_were(recipe):
    warm = {**recipe, "warmup_steps": 5}
    rates = [learning_rate(warm, step=step, steps_per_epoch=10) for step in range(60)]
    assert rates[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert rates[5:] == [learning_rate(recipe, step=step, steps_per_epoch=10) for step in range(5, 60)]


def test_the_cyclic_schedule_was_half_a_step_late():
    # 2 epochs of 5 steps: a triangle that is 0 at step 0, 0.1 at step 5 and 0 at step 10.
    recipe = {"schedule": "cyclic", "lr": 0.1, "epochs": 2}
    rates = [learning_rate(recipe, step=step, steps_per_epoch=5) for step in range(10)]
    assert rates == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.08, 0.06, 0.04, 0.02])


def test_the_cyclic_schedule_of_an_odd_number_of_epochs_has_its_peak_before_the_middle():
    # 3 epochs of 2 steps: 0.1 at epoch 3 // 2 = 1, then down over two epochs. A single epoch only falls.
    recipe = {"schedule": "cyclic", "lr": 0.1, "epochs": 3}
    rates = [learning_rate(recipe, step=step, steps_per_epoch=2) for step in range(6)]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.075, 0.05, 0.025])
    rates = [learning_rate({**recipe, "epochs": 1}, step=step, steps_per_epoch=2) for step in range(2)]
    assert rates == pytest.approx([0.1, 0.05])


ROTATION = {
    "schedule": "cosine", "lr": 0.1, "lr_end": 1e-6, "epochs": 100,
    "warmup": "first_epoch", "warmup_steps": 200, "warmup_from": 0.1,
}  # fmt: skip


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.01),  # the first step was one step too early, at 0.01045
        (1, 0.01045),
        (175, 0.01 + 0.09 * 175 / 200),  # the last step of the first epoch: the warm-up is cut off at 0.08875
        # The cosine has counted from step 0: 1e-6 + (0.1 - 1e-6)(1 + cos(pi / 100)) / 2. It was 0.08965, 10 % less.
        (176, 0.0999753283),
        (8800, 0.0500005),  # half of 17,600 steps
        (17_599, 1e-6),
    ],
)
def test_the_cosine_of_rotation_counts_from_step_0_and_its_warm_up_ends_with_the_first_epoch(step, expected):
    # 45,000 images in batches of 256 are 176 steps.
    assert learning_rate(ROTATION, step=step, steps_per_epoch=176) == pytest.approx(expected, abs=1e-9)


def test_a_warm_up_within_the_first_epoch_holds_the_rate_until_its_end():
    # Jigsaw: 45,000 images in batches of 128 are 352 steps. From step 200 to 351 the rate is 0.1, not the cosine's.
    rates = [learning_rate(ROTATION, step=step, steps_per_epoch=352) for step in (199, 200, 351, 352)]
    assert rates == pytest.approx([0.01 + 0.09 * 199 / 200, 0.1, 0.1, 0.0999753283], abs=1e-9)


def test_a_warm_up_within_the_first_epoch_leaves_milestones_where_they_are():
    recipe = {"schedule": "steps", "lr": 0.1, "milestones": [60, 80], "gamma": 0.1, "epochs": 100}
    recipe |= {"warmup": "first_epoch", "warmup_steps": 200, "warmup_from": 0.1}
    rates = [learning_rate(recipe, step=step, steps_per_epoch=352) for step in (0, 100, 352, 60 * 352, 80 * 352)]
    assert rates == pytest.approx([0.01, 0.055, 0.1, 0.01, 0.001])


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
    """Return the weights after some steps, which are the same whether one kernel makes them or many."""
    plain = _stepped(copy.deepcopy(model), recipe, gradient=gradient, steps=steps, fused=False)
    fused = _stepped(model, recipe, gradient=gradient, steps=steps, fused=True)
    assert fused == pytest.approx(plain, rel=1e-6)
    return fused


def _stepped(model: nn.Module, recipe: dict, *, gradient: float, steps: int, fused: bool) -> dict[str, float]:
    optimizer = build_optimizer(model, recipe, fused=fused)
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


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_parameters_under_a_spared_name_are_trained_but_not_decayed(optimizer):
    recipe = {**SGD, "optimizer": optimizer, "no_weight_decay": ["norm", "head.bias"]}
    # With no gradient only the decay acts: 2 - 0.1 * 0.5 * 2 = 1.9.
    found = stepped(Small(), recipe, gradient=0.0, steps=1)
    spared = {"norm.weight", "norm.bias", "head.bias"}
    assert found == pytest.approx({name: 2.0 if name in spared else 1.9 for name in found})
    assert set(found) > spared
    assert all(value < 2.0 for value in stepped(Small(), recipe, gradient=1.0, steps=1).values())


def test_a_spared_name_is_the_beginning_of_a_name():
    # "bias" stands at the end of three names and at the beginning of none.
    found = stepped(Small(), {**SGD, "no_weight_decay": ["bias"]}, gradient=0.0, steps=1)
    assert list(found.values()) == pytest.approx([1.9] * 6)


def test_a_frozen_parameter_under_a_spared_name_is_left_out():
    found = stepped(Small(frozen=True), {**SGD, "no_weight_decay": ["conv"]}, gradient=1.0, steps=2)
    assert found["conv.weight"] == found["conv.bias"] == 2.0
    optimizer = build_optimizer(Small(frozen=True), {**SGD, "no_weight_decay": ["conv"]}, fused=True)
    assert len([p for group in optimizer.param_groups for p in group["params"]]) == 4


def test_every_group_follows_the_schedule():
    # The loop sets the rate of all groups; both must start from the recipe's.
    optimizer = build_optimizer(Small(), {**SGD, "no_weight_decay": ["norm"]}, fused=True)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_gradient_that_first_comes_in_a_later_step_is_no_type_error(momentum):
    # HyperAT's embeddings: of the defences only the drawn one has a gradient.
    found = {}
    for fused in (False, True):
        early, late = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        model = nn.Sequential(early, late)
        for parameter in model.parameters():
            nn.init.constant_(parameter, 2.0)
        optimizer = build_optimizer(model, {**SGD, "momentum": momentum}, fused=fused)
        for step in range(4):
            early.weight.grad = torch.ones(1, 1)
            late.weight.grad = torch.ones(1, 1) if step >= 2 else None
            optimizer.step()
        found[fused] = early.weight.item(), late.weight.item()
    assert found[True] == pytest.approx(found[False], rel=1e-6)
    # Two steps by hand: 2 -> 1.8, then with momentum as above, without it 1.8 - 0.1 * (1 + 0.5 * 1.8).
    assert found[True][1] == pytest.approx(1.43 if momentum else 1.61)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("fused", [False, True])
def test_an_optimiser_without_the_compilers_wrappers_takes_the_same_steps_to_the_bit(kind, fused):
    ends = []
    for made in (kind, _uncompiled(kind)):
        torch.manual_seed(0)
        model = nn.Linear(5, 3)
        more = {"momentum": 0.9, "nesterov": True} if kind is torch.optim.SGD else {}
        optimizer = made(model.parameters(), lr=0.1, weight_decay=0.5, fused=fused, **more)
        for step in range(4):
            if step == 2:
                stored = copy.deepcopy(optimizer.state_dict())
                optimizer = made(model.parameters(), lr=7.0, fused=fused)
                optimizer.load_state_dict(stored)
            optimizer.zero_grad(set_to_none=True)
            model(torch.ones(2, 5)).square().sum().backward()
            optimizer.step()
        ends.append([parameter.detach().clone() for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_momentum_stored_in_another_layout_is_not_given_to_other_weights(optimizer):
    recipe = {**SGD, "optimizer": optimizer}
    ends = []
    for layout in (torch.channels_last, torch.contiguous_format):  # of the model that was saved
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=layout)
        made = build_optimizer(model, recipe, fused=True)
        gradient = torch.rand(model.weight.shape)
        for _ in range(2):
            model.weight.grad = gradient.contiguous(memory_format=layout)
            model.bias.grad = torch.ones_like(model.bias)
            made.step()
        model, state = model.to(memory_format=torch.contiguous_format), made.state_dict()
        made = build_optimizer(model, recipe, fused=True)
        made.load_state_dict(state)
        as_laid_out(made)
        model.weight.grad, model.bias.grad = gradient, torch.ones_like(model.bias)
        made.step()
        ends.append(model.weight.detach().clone())
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-7)


def test_a_part_of_the_model_has_its_own_rate():
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    made = build_optimizer(model, {**SGD, "lr_factors": {"head": 10.0}, "no_weight_decay": ["head.bias"]}, fused=False)
    shapes = [(g.get("lr_factor", 1.0), g["weight_decay"] > 0, len(g["params"])) for g in made.param_groups]
    assert shapes == [(1.0, True, 2), (10.0, True, 1), (10.0, False, 1)]


def test_a_rate_of_no_part_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'head'"):
        build_optimizer(nn.ModuleDict({"head": nn.Linear(2, 2)}), {**SGD, "lr_factors": {"hed": 10.0}}, fused=False)
