from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import pgd
from robustft.methods.adapt import AdaptCE, AdaptKL
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.protocol import Tuned
from robustft.methods.standard import Standard
from robustft.methods.trades import Trades
from robustft.models.tunings.prompts import PromptTuning
from tests.models.toy_vit import images, toy_vit

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded

LN2, LN3, LN4, LN5 = (math.log(number) for number in (2, 3, 4, 5))
ADAPTIVE = PromptTuning(length=3, depth="all", attack="adaptive")
TRADITIONAL = PromptTuning(length=3, depth=1, attack="traditional", train_patch_embedding=False)


def total_of(method):
    return lambda model, x, x_adv, y: method.loss(model, x, x_adv, y).total


class TestAdaptCECase(MethodCase):
    method = AdaptCE(beta=6.0)

    def reductions(self):
        def both(model, x, x_adv, y):
            return total_of(Standard())(model, x, x_adv, y) + total_of(AdversarialTraining())(model, x, x_adv, y)

        return [
            Reduction("standard training, with beta 0", AdaptCE(beta=0.0), total_of(Standard())),
            Reduction("standard and adversarial training, with beta 1", AdaptCE(beta=1.0), both),
        ]


class TestAdaptKLCase(MethodCase):
    method = AdaptKL(beta=6.0)

    def reductions(self):
        return [
            Reduction("standard training, with beta 0", AdaptKL(beta=0.0), total_of(Standard())),
            Reduction("TRADES' loss", self.method, total_of(Trades(beta=6.0, attack_loss="kl"))),
        ]


class PromptCase(MethodCase):
    """An objective over prompts in a vision transformer."""

    tuning: PromptTuning
    lr = 0.02

    @pytest.fixture
    def tiny_model(self):
        return lambda *, seed=0, lived=False, dtype=torch.float32: toy_vit(seed=seed, dtype=dtype)

    def trains(self, name):
        patches = self.tuning.train_patch_embedding and name.startswith("backbone.vit.patch_embed.")
        return name == "backbone.prompts" or name.startswith("head.") or patches

    def rebuilt(self, plain):
        return self.tuning.prepare(plain)


class TestAdaptWithDeepPrompts(PromptCase):
    tuning = ADAPTIVE
    method = Tuned(AdaptCE(beta=6.0), ADAPTIVE)

    def reductions(self):
        one = Tuned(AdaptCE(beta=0.0), ADAPTIVE)
        return [Reduction("standard training of the same weights, with beta 0", one, total_of(Standard()))]


class TestAdversarialTrainingOfPrompts(PromptCase):
    tuning = TRADITIONAL
    method = Tuned(AdversarialTraining(), TRADITIONAL)

    def reductions(self):
        return [Reduction("the loss of AT, prompts in place", self.method, total_of(AdversarialTraining()))]


# Image 1, label 1: clean (0, 0) -> (1/2, 1/2), adversarial (ln 4, 0) -> (4/5, 1/5): CE ln 2 and ln 5, KL ln(5/4).
# Image 2, label 0: clean and adversarial (ln 3, 0) -> (3/4, 1/4): CE ln(4/3) twice, KL 0.
CLEAN, ADVERSARIAL = logits([0.0, 0.0], [LN3, 0.0]), logits([LN4, 0.0], [LN3, 0.0])
LABELS = torch.tensor([1, 0])


def terms(method):
    return {name: term.item() for name, term in method.loss(Logits(), CLEAN, ADVERSARIAL, LABELS).terms.items()}


def test_adapt_ce_by_hand():
    assert terms(AdaptCE(beta=6.0)) == {
        "clean": pytest.approx((LN2 + math.log(4 / 3)) / 2, abs=1e-15),
        "adversarial": pytest.approx(6 * (LN5 + math.log(4 / 3)) / 2, abs=1e-14),
    }


def test_adapt_kl_by_hand():
    assert terms(AdaptKL(beta=6.0)) == {
        "clean": pytest.approx((LN2 + math.log(4 / 3)) / 2, abs=1e-15),
        "kl": pytest.approx(6 * math.log(5 / 4) / 2, abs=1e-15),
    }


def test_neither_side_of_the_kl_is_detached():
    # Gradients of KL by hand in tests/attacks/test_objectives.py: clean (-ln 2/2, ln 2/2), adversarial (3/10, -3/10).
    x, x_adv = logits([0.0, 0.0]).requires_grad_(), logits([LN4, 0.0]).requires_grad_()
    AdaptKL(beta=6.0).loss(Logits(), x, x_adv, torch.tensor([0])).terms["kl"].backward()
    assert x.grad.flatten().tolist() == pytest.approx([-3 * LN2, 3 * LN2], abs=1e-14)
    assert x_adv.grad.flatten().tolist() == pytest.approx([1.8, -1.8], abs=1e-14)


@pytest.mark.parametrize("method", [AdaptCE(beta=6.0), AdaptKL(beta=6.0)])
def test_both_variants_attack_the_prompted_network_by_cross_entropy_from_a_uniform_start(method):
    x, y = images(), torch.arange(6) % 5
    model = ADAPTIVE.prepare(toy_vit())
    adversarial = Tuned(method, ADAPTIVE).attack(model.train(), x, y, budget=BUDGET, generator=seeded(4))
    objective = partial(cross_entropy, y=y)
    expected = pgd(model, x, budget=BUDGET, objective=objective, start="uniform", generator=seeded(4))
    assert torch.equal(adversarial, expected)


def test_an_objective_attacks_without_prompts_and_learns_with_them_under_a_traditional_attack():
    x, y = images(), torch.arange(6) % 5
    model = TRADITIONAL.prepare(toy_vit())
    with torch.no_grad():
        model.backbone.prompts.mul_(10)
    method = Tuned(AdversarialTraining(), TRADITIONAL)
    plain = toy_vit()
    expected = AdversarialTraining().attack(plain, x, y, budget=BUDGET, generator=seeded(4))
    x_adv = method.attack(model, x, y, budget=BUDGET, generator=seeded(4))
    assert torch.equal(x_adv, expected)
    prompted, bare = method.loss(model, x, x_adv, y).total, method.inner.loss(plain, x, x_adv, y).total
    assert prompted.item() != pytest.approx(bare.item(), abs=1e-3)
