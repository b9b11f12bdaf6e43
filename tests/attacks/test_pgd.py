from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import partial

import pytest
import torch
from torch import nn

from robustft.attacks.objectives import cross_entropy, margin
from robustft.attacks.pgd import GAUSSIAN_SCALE, Budget, evaluating, pgd
from robustft.attacks.threat import ThreatModel


def budget(norm: str = "linf", eps: str = "1/10", steps: int = 1, step_over_eps: str = "1/4") -> Budget:
    return Budget.of({"norm": norm, "eps": eps}, {"steps": steps, "step_over_eps": step_over_eps})


def image(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


def linear(x: torch.Tensor) -> torch.Tensor:
    """Two pixels (a, b) -> logits (a - b, 0): the gradient of any loss is a multiple of (1, -1)."""
    a, b = x.flatten(1).unbind(1)
    return torch.stack([a - b, torch.zeros_like(a)], dim=1)


CLASS_0 = partial(cross_entropy, y=torch.tensor([0]))


def test_one_linf_step_by_hand():
    # CE rises as logit 0 falls: d CE/da = p_0 - 1 < 0, d CE/db > 0, signs (-1, +1).
    # The step is 1/4 of eps = 1/10: 0.5 - 0.025, 0.2 + 0.025.
    moved = pgd(linear, image(0.5, 0.2), budget=budget(), objective=CLASS_0, start="none")
    torch.testing.assert_close(moved, image(0.475, 0.225), rtol=0, atol=1e-15)


def test_one_l2_step_by_hand():
    # The same gradient at unit length is (-1, 1)/sqrt 2; times 0.025.
    moved = pgd(linear, image(0.5, 0.2), budget=budget("l2"), objective=CLASS_0, start="none")
    expected = image(0.5 - 0.025 / math.sqrt(2), 0.2 + 0.025 / math.sqrt(2))
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-15)


def test_steps_add_up_and_end_on_the_ball_and_in_the_image_range():
    # 3 steps of 0.025 move by 0.075; 6 would move by 0.15 and are cut to eps = 0.1; below 0 there is no image.
    three = pgd(linear, image(0.5, 0.2), budget=budget(steps=3), objective=CLASS_0, start="none")
    torch.testing.assert_close(three, image(0.425, 0.275), rtol=0, atol=1e-15)
    six = pgd(linear, image(0.5, 0.2), budget=budget(steps=6), objective=CLASS_0, start="none")
    torch.testing.assert_close(six, image(0.4, 0.3), rtol=0, atol=1e-15)
    dark = pgd(linear, image(0.05, 0.98), budget=budget(steps=6), objective=CLASS_0, start="none")
    torch.testing.assert_close(dark, image(0.0, 1.0), rtol=0, atol=1e-15)


def test_the_l2_iterate_is_cut_to_the_sphere():
    # 6 steps of length 0.025 along (-1, 1)/sqrt 2 reach 0.15, cut to 0.1.
    moved = pgd(linear, image(0.5, 0.2), budget=budget("l2", steps=6), objective=CLASS_0, start="none")
    expected = image(0.5 - 0.1 / math.sqrt(2), 0.2 + 0.1 / math.sqrt(2))
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-15)


def test_one_step_of_eps_is_fgsm(tiny_model, random_batch):
    model, (x, y) = tiny_model(dtype=torch.float64).eval(), random_batch(6, dtype=torch.float64)
    leaf = x.clone().requires_grad_()
    nn.functional.cross_entropy(model(leaf), y, reduction="sum").backward()
    fgsm = (x + 0.04 * leaf.grad.sign()).clamp(0, 1)
    one = budget(eps="1/25", step_over_eps="1")
    moved = pgd(model, x, budget=one, objective=partial(cross_entropy, y=y), start="none")
    torch.testing.assert_close(moved, fgsm, rtol=0, atol=1e-15)


def test_the_objective_is_increased_and_not_decreased(tiny_model, random_batch):
    model, (x, y) = tiny_model().eval(), random_batch(20)
    for objective in (cross_entropy, margin):
        moved = pgd(model, x, budget=budget(steps=5), objective=partial(objective, y=y), start="none")
        before, after = objective(model(x), y), objective(model(moved), y)
        assert after.mean() > before.mean() + 0.01


def test_each_step_starts_from_the_last_iterate():
    # The objective is the parabola -(a - 0.53)^2, highest at 0.53: steps of 0.025 from 0.5 go to 0.525, 0.55 (the
    # last iterate overshoots, and it is what comes back, not the best one), then back to 0.525.
    def objective(logits: torch.Tensor) -> torch.Tensor:
        return -((logits - 0.53) ** 2).sum(1)

    found = [
        pgd(lambda z: z.flatten(1), image(0.5), budget=budget(steps=k), objective=objective, start="none").item()
        for k in (1, 2, 3)
    ]
    assert found == pytest.approx([0.525, 0.55, 0.525], abs=1e-12)


@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_a_random_start_lies_where_it_should(start):
    seen: list[torch.Tensor] = []

    def forward(z: torch.Tensor) -> torch.Tensor:
        seen.append(z.detach().clone())
        return z.flatten(1)

    x = torch.full((200, 1, 4, 4), 0.5, dtype=torch.float64)
    draws = torch.Generator().manual_seed(0)
    pgd(forward, x, budget=budget(), objective=lambda z: z.sum(1), start=start, generator=draws)
    noise = seen[0] - x
    if start == "uniform":
        assert noise.abs().max() <= 0.1 + 1e-15
        # A uniform variable on [-0.1, 0.1] has standard deviation 0.1/sqrt 3; the spread of 3200 draws is known to
        # about 1 %; margin 5 %.
        assert noise.std().item() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    else:
        # The estimate from 3200 normal draws has a relative standard error of 1/sqrt(6400) = 1.25 %; margin 6 %.
        assert pytest.approx(0.001) == GAUSSIAN_SCALE
        assert noise.std().item() == pytest.approx(0.001, rel=0.06)


def test_a_random_start_is_projected_before_the_first_step():
    seen: list[torch.Tensor] = []

    def forward(z: torch.Tensor) -> torch.Tensor:
        seen.append(z.detach().clone())
        return z.flatten(1)

    x = torch.tensor([0.0, 1.0] * 50, dtype=torch.float64).view(1, 1, 10, 10)
    tiny = budget(eps="1/2000")  # smaller than the Gaussian's scale, so most draws must be cut
    pgd(forward, x, budget=tiny, objective=lambda z: z.sum(1), start="gaussian", generator=torch.Generator())
    assert (seen[0] - x).abs().max() <= 0.0005 + 1e-15
    assert seen[0].min() >= 0
    assert seen[0].max() <= 1


TABLE = list(itertools.product(["linf", "l2"], ["none", "uniform", "gaussian"], [1, 4]))


@pytest.mark.parametrize(("norm", "start", "steps"), TABLE)
def test_the_last_iterate_is_an_image_in_the_ball(norm, start, steps, tiny_model, random_batch):
    model, (x, y) = tiny_model(dtype=torch.float64).eval(), random_batch(8, dtype=torch.float64)
    x[0], x[1] = 0.0, 1.0  # at the ends of the range
    allowed = budget(norm, "1/5", steps=steps, step_over_eps="3/4")
    draws = torch.Generator().manual_seed(3)
    moved = pgd(model, x, budget=allowed, objective=partial(cross_entropy, y=y), start=start, generator=draws)
    distance = allowed.threat.distance(moved, x)
    assert moved.shape == x.shape
    assert moved.dtype == x.dtype
    assert distance.max() <= 0.2 + 1e-12
    assert distance[2:].min() > 0.04  # every image that has room to move has moved
    assert moved.min() >= 0
    assert moved.max() <= 1


@pytest.mark.parametrize(("norm", "start", "steps"), TABLE)
def test_eps_zero_leaves_the_images_as_they_are(norm, start, steps, tiny_model, random_batch):
    model, (x, y) = tiny_model().eval(), random_batch(4)
    nothing = budget(norm, "0", steps=steps)
    draws = torch.Generator().manual_seed(0)
    moved = pgd(model, x, budget=nothing, objective=partial(cross_entropy, y=y), start=start, generator=draws)
    assert torch.equal(moved, x)


@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_a_random_start_needs_a_generator(start):
    with pytest.raises(ValueError, match=f"{start} start needs a generator"):
        pgd(linear, image(0.5, 0.2), budget=budget(), objective=CLASS_0, start=start)


@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_the_same_generator_seed_gives_equal_bytes(start, tiny_model, random_batch):
    model, (x, y) = tiny_model().eval(), random_batch(8)

    def attacked(seed: int) -> torch.Tensor:
        draws = torch.Generator().manual_seed(seed)
        torch.rand(1)  # the state of the global generator must not matter
        objective = partial(cross_entropy, y=y)
        return pgd(model, x, budget=budget(steps=2), objective=objective, start=start, generator=draws)

    assert torch.equal(attacked(5), attacked(5))
    assert not torch.equal(attacked(5), attacked(6))


def test_the_result_carries_no_graph_and_the_input_is_untouched(tiny_model, random_batch):
    model, (x, y) = tiny_model().eval(), random_batch(4)
    leaf = x.clone().requires_grad_()
    moved = pgd(model, leaf, budget=budget(), objective=partial(cross_entropy, y=y), start="none")
    assert not moved.requires_grad
    assert moved.grad_fn is None
    assert leaf.grad is None
    assert torch.equal(leaf, x)


def test_the_weights_receive_no_gradient(tiny_model, random_batch):
    model, (x, y) = tiny_model().eval(), random_batch(4)
    pgd(model, x, budget=budget(steps=2), objective=partial(cross_entropy, y=y), start="none")
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_an_attack_works_where_gradients_are_switched_off(tiny_model, random_batch):
    model, (x, y) = tiny_model().eval(), random_batch(4)
    attack = partial(pgd, model, x, budget=budget(steps=2), objective=partial(cross_entropy, y=y), start="none")
    with torch.no_grad():
        inside = attack()
    assert torch.equal(inside, attack())
    assert not torch.equal(inside, x)


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


@pytest.mark.parametrize("fails", [False, True])
def test_evaluating_gives_every_module_its_own_mode_back(fails, tiny_model):
    model = tiny_model().train()
    model.backbone.stages[0].eval()
    model.backbone.stages[1].bn1.eval()  # a module that differs from its parent
    before = modes(model)
    assert len(set(before.values())) == 2
    try:
        with evaluating(model):
            assert not any(modes(model).values())
            if fails:
                raise RuntimeError("inside")
    except RuntimeError:
        assert fails
    assert modes(model) == before


def test_the_step_is_an_exact_fraction():
    assert budget(eps="8/255", step_over_eps="1/4").step == Fraction(2, 255)
    assert str(budget(eps="8/255", steps=10)) == "linf eps 8/255, 10 steps of 2/255"


@pytest.mark.parametrize(("steps", "step_over_eps"), [(0, "1"), (-1, "1"), (1, "0"), (1, "-1/4")])
def test_a_budget_without_a_step_is_refused(steps, step_over_eps):
    with pytest.raises(ValueError, match="at least one step"):
        Budget(ThreatModel("linf", Fraction(1, 10)), steps, Fraction(step_over_eps))


def test_what_is_taken_back_before_each_step_by_hand():
    # Linf, eps 1/10, steps of 0.025 along (-1, +1); before each step half of the perturbation is taken back:
    # 0.025; 0.0125 + 0.025 = 0.0375; 0.01875 + 0.025 = 0.04375.
    seen = []

    def half(x_adv, x):
        seen.append((x_adv - x).abs().max().item())
        return x + (x_adv - x) / 2

    x = image(0.5, 0.2)
    moved = pgd(linear, x, budget=budget(steps=3), objective=CLASS_0, start="none", before_step=half)
    torch.testing.assert_close(moved, image(0.5 - 0.04375, 0.2 + 0.04375), rtol=0, atol=1e-15)
    assert seen == pytest.approx([0.0, 0.025, 0.0375])


def test_taking_nothing_back_changes_nothing(tiny_model, random_batch):
    x, y = random_batch(4)
    model = tiny_model(lived=True).eval()

    def found(before_step):
        objective, draws = partial(cross_entropy, y=y), torch.Generator().manual_seed(0)
        return pgd(
            model,
            x,
            budget=budget(steps=3),
            objective=objective,
            start="uniform",
            generator=draws,
            before_step=before_step,
        )

    assert torch.equal(found(None), found(lambda x_adv, x: x_adv))


def test_the_result_is_in_the_ball_whatever_is_done_before_a_step(tiny_model, random_batch):
    x, y = random_batch(4)
    far = pgd(
        tiny_model(lived=True).eval(),
        x,
        budget=budget(steps=2),
        objective=partial(cross_entropy, y=y),
        start="none",
        before_step=lambda x_adv, x: x_adv + 1,
    )
    assert (far - x).abs().max() <= 0.1 + 1e-6
    assert far.max() <= 1


def test_a_budget_says_how_far_training_is_and_nothing_unless_told():
    assert budget().epoch == 0.0
    assert Budget(ThreatModel("linf", Fraction(1, 10)), 1, Fraction(1), epoch=2.5).epoch == 2.5
