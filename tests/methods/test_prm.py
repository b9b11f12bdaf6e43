from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.objectives import cross_entropy
from robustft.errors import ConfigError
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.prm import ArdPrm, dropping_attention, mask_patches, patch_size
from tests.models import toy_vit as toy

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded

PRM = ArdPrm(warm_up_epochs=4, attention=False, patches=True)
ARD = ArdPrm(warm_up_epochs=4, attention=True, patches=False)
BOTH = ArdPrm(warm_up_epochs=4, attention=True, patches=True)


@pytest.fixture
def tiny_model():
    """The vision transformer that these methods are made for; `lived` is all it ever is."""

    def make(*, seed: int = 0, lived: bool = True, dtype: torch.dtype = torch.float64):
        return toy.toy_vit(seed=seed, dtype=dtype)

    return make


def at_epoch(epoch: float):
    return dataclasses.replace(BUDGET, epoch=epoch)


def adversarial_training(model, x, x_adv, y):
    return AdversarialTraining().loss(model, x, x_adv, y).total


class TestPrmCase(MethodCase):
    method = PRM

    @pytest.fixture(autouse=True)
    def half_way_through_the_warm_up(self, monkeypatch):
        # At its very beginning PRM starts each step at x, whatever the seed, and ARD leaves no gradient at all.
        monkeypatch.setattr(ArdPrm, "keep", lambda self, budget: 0.5)

    def reductions(self):
        return [Reduction("the outer problem of adversarial training", self.method, adversarial_training)]


class TestArdCase(TestPrmCase):
    method = ARD


class TestArdPrmCase(TestPrmCase):
    method = BOTH


@pytest.fixture
def problem(random_batch):
    return (toy.toy_vit(), *random_batch(6, dtype=torch.float64))


def adversarial(method: ArdPrm, problem, *, epoch: float, seed: int = 0) -> Tensor:
    model, x, y = problem
    return method.attack(model, x, y, budget=at_epoch(epoch), generator=seeded(seed))


def test_the_loss_by_hand():
    # (ln 3, 0) with label 0: ln(4/3).
    x_adv = logits([math.log(3), 0.0])
    loss = PRM.loss(Logits(), x_adv, x_adv, torch.tensor([0]))
    assert {k: v.item() for k, v in loss.terms.items()} == {"cross_entropy": pytest.approx(math.log(4 / 3), abs=1e-15)}


@pytest.mark.parametrize(("epoch", "keep"), [(0.0, 0.0), (1.0, 0.25), (3.5, 0.875), (4.0, 1.0), (30.0, 1.0)])
def test_keep_rises_linearly_over_the_warm_up(epoch, keep):
    assert PRM.keep(at_epoch(epoch)) == keep
    assert dataclasses.replace(PRM, warm_up_epochs=0).keep(at_epoch(epoch)) == 1.0


@pytest.mark.parametrize("method", [PRM, ARD, BOTH])
def test_after_the_warm_up_the_attack_is_that_of_adversarial_training(method, problem):
    model, x, y = problem
    expected = maximise_cross_entropy(model, x, y, budget=BUDGET, generator=seeded())
    assert torch.equal(adversarial(method, problem, epoch=4.0), expected)
    assert not torch.equal(adversarial(method, problem, epoch=2.0), expected)


def test_masked_patches_by_hand():
    # Four patches of 2 x 2 in an image of 4 x 4, of which two go back to x, the same ones in both images.
    x, x_adv = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    masked = mask_patches(x_adv, x, size=2, dropped=2, generator=seeded(3))
    patches = masked.unfold(2, 2, 2).unfold(3, 2, 2)
    assert torch.equal(patches.amin(dim=(4, 5)), patches.amax(dim=(4, 5)))
    assert patches[..., 0, 0].flatten(2).sum(2).tolist() == [[2.0] * 3] * 2
    assert torch.equal(masked[0], masked[1])


def test_the_patches_are_drawn_anew_in_each_step(problem):
    drawn = seeded()
    x = problem[1]
    first, second = (mask_patches(x + 1, x, size=2, dropped=8, generator=drawn) for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("epoch", "dropped"), [(0.0, 16), (1.0, 12), (3.9, 0)])
def test_as_many_patches_are_masked_as_the_share_of_sixteen_rounded_down(epoch, dropped, problem, monkeypatch):
    seen: list[int] = []

    def counted(x_adv, x, *, size, dropped, generator):
        seen.append(dropped)
        return mask_patches(x_adv, x, size=size, dropped=dropped, generator=generator)

    monkeypatch.setattr("robustft.methods.prm.mask_patches", counted)
    adversarial(PRM, problem, epoch=epoch)
    assert seen == [dropped] * BUDGET.steps * bool(dropped)


def test_masked_patches_restart_from_zero_and_still_take_the_step(problem):
    # At epoch 0 nothing is kept: each step starts at x, and the last one moves every pixel by one step.
    model, x, _ = problem
    assert patch_size(model) == 2
    moved = (adversarial(PRM, problem, epoch=0.0) - x).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, float(BUDGET.step)), rtol=0, atol=1e-12)


class Branch(nn.Module):
    """x + attn(x) with attn(x) = 3 x: the gradient is 4, or 1 without the branch."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Module()
        self.block.attn = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(self.block.attn.weight, 3.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block.attn(x)


@pytest.mark.parametrize(("probability", "gradient"), [(0.0, 4.0), (1.0, 1.0)])
def test_dropping_attention_by_hand(probability, gradient):
    model, x = Branch(), torch.tensor([[2.0], [5.0]], dtype=torch.float64, requires_grad=True)
    with dropping_attention(model, probability, seeded()):
        y = model(x)
    assert y.flatten().tolist() == [8.0, 20.0]  # what it computes stays
    assert torch.autograd.grad(y.sum(), x)[0].flatten().tolist() == [gradient] * 2


def test_one_draw_holds_for_the_whole_batch_and_is_made_anew_for_each_pass():
    model, x = Branch(), torch.ones(8, 1, dtype=torch.float64, requires_grad=True)
    draws, found = seeded(), []
    with dropping_attention(model, 0.5, draws):
        for _ in range(64):
            (gradient,) = torch.autograd.grad(model(x).sum(), x)
            assert len(set(gradient.flatten().tolist())) == 1
            found.append(gradient[0].item())
    assert 16 < found.count(4.0) < 48
    assert found.count(4.0) + found.count(1.0) == 64


def test_blocks_are_drawn_one_by_one_and_nothing_stays_behind(problem):
    model, x, y = problem

    def gradient() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(cross_entropy(model(leaf), y).sum(), leaf)[0]

    whole, distinct = gradient(), []
    with dropping_attention(model, 0.5, seeded()):
        for _ in range(40):
            g = gradient()
            if not any(torch.equal(g, other) for other in distinct):
                distinct.append(g)
    assert len(distinct) == 4  # two blocks, each with or without its attention
    assert any(torch.allclose(g, whole, rtol=0, atol=1e-13) for g in distinct)
    assert torch.equal(gradient(), whole)
    assert not any(module._forward_hooks for module in model.modules())


def test_ard_at_the_beginning_leaves_no_gradient(problem):
    # Patches reach the class token through attention only: the images stay where they started, and with PRM at x.
    x, held_back = problem[1], adversarial(ARD, problem, epoch=0.0)
    threat = BUDGET.threat
    assert torch.equal(held_back, threat.project(x + threat.uniform(x, seeded()), x))
    assert torch.equal(adversarial(BOTH, problem, epoch=0.0), x)


def test_networks_without_patches_are_refused(problem):
    with pytest.raises(ConfigError, match="vision transformers"):
        PRM.attack(nn.Flatten(), *problem[1:], budget=BUDGET, generator=seeded())
