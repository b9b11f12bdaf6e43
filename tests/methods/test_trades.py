from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from robustft.attacks.objectives import kl_divergence
from robustft.attacks.pgd import pgd
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.standard import Standard
from robustft.methods.trades import Trades

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)


def standard(model, x, x_adv, y):
    return Standard().loss(model, x, x_adv, y).total


class TestTradesCase(MethodCase):
    method = Trades(beta=6.0, attack_loss="kl")

    def reductions(self):
        return [Reduction("standard training, with beta 0", Trades(beta=0.0, attack_loss="kl"), standard)]


class TestTradesReleasedCase(TestTradesCase):
    method = Trades(beta=6.0, attack_loss="cross_entropy")


def test_loss_by_hand():
    # Image 1: clean (0, 0) -> p = (1/2, 1/2), adversarial (ln 4, 0) -> q = (4/5, 1/5): CE = ln 2, KL(p||q) = ln(5/4).
    # Image 2: clean and adversarial (ln 3, 0), label 0: CE = ln(4/3), KL = 0.
    x, x_adv = logits([0.0, 0.0], [LN3, 0.0]), logits([LN4, 0.0], [LN3, 0.0])
    loss = Trades(beta=6.0, attack_loss="kl").loss(Logits(), x, x_adv, torch.tensor([1, 0]))
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "cross_entropy": pytest.approx((LN2 + math.log(4 / 3)) / 2, abs=1e-15),
        "kl": pytest.approx(6 * math.log(5 / 4) / 2, abs=1e-15),
    }


def test_the_target_of_the_kl_is_the_clean_prediction():
    # The other way round KL(q||p) = 4/5 ln(8/5) + 1/5 ln(2/5) = 0.1927, not ln(5/4) = 0.2231.
    x, x_adv = logits([0.0, 0.0]), logits([LN4, 0.0])
    kl = Trades(beta=1.0, attack_loss="kl").loss(Logits(), x, x_adv, torch.tensor([0])).terms["kl"].item()
    assert kl == pytest.approx(math.log(5 / 4), abs=1e-15)
    assert kl != pytest.approx(4 / 5 * math.log(8 / 5) + 1 / 5 * math.log(2 / 5), abs=1e-2)


def test_neither_side_of_the_kl_is_detached():
    # One image, beta 6; gradients of KL by hand in tests/attacks/test_objectives.py: clean (-ln 2/2, ln 2/2),
    # adversarial (3/10, -3/10).
    x, x_adv = logits([0.0, 0.0]).requires_grad_(), logits([LN4, 0.0]).requires_grad_()
    Trades(beta=6.0, attack_loss="kl").loss(Logits(), x, x_adv, torch.tensor([0])).terms["kl"].backward()
    assert x.grad.flatten().tolist() == pytest.approx([-3 * LN2, 3 * LN2], abs=1e-14)
    assert x_adv.grad.flatten().tolist() == pytest.approx([1.8, -1.8], abs=1e-14)


def test_the_published_attack_maximises_the_kl_from_a_small_gaussian_start(tiny_model, random_batch):
    # In float64: `attack` folds batch norms, and some processors round that otherwise in float32.
    x, y = random_batch(6, dtype=torch.float64)
    model = tiny_model(lived=True, dtype=torch.float64)
    adversarial = Trades(beta=6.0, attack_loss="kl").attack(model.train(), x, y, budget=BUDGET, generator=seeded(4))
    model.eval()
    with torch.no_grad():
        clean = model(x)
    objective = partial(kl_divergence, clean)
    expected = pgd(model, x, budget=BUDGET, objective=objective, start="gaussian", generator=seeded(4))
    torch.testing.assert_close(adversarial, expected, rtol=0, atol=1e-10)
    # A label-blind attack: the labels must not matter.
    other = Trades(beta=6.0, attack_loss="kl").attack(model, x, (y + 1) % 5, budget=BUDGET, generator=seeded(4))
    assert torch.equal(adversarial, other)


def test_the_released_attack_is_that_of_adversarial_training(tiny_model, random_batch):
    x, y = random_batch(6)
    model = tiny_model(lived=True)
    released = Trades(beta=6.0, attack_loss="cross_entropy").attack(model, x, y, budget=BUDGET, generator=seeded(4))
    assert torch.equal(released, AdversarialTraining().attack(model, x, y, budget=BUDGET, generator=seeded(4)))
    published = Trades(beta=6.0, attack_loss="kl").attack(model, x, y, budget=BUDGET, generator=seeded(4))
    assert not torch.equal(released, published)


def test_an_unknown_attack_is_refused():
    with pytest.raises(ValueError, match="'kl' or 'cross_entropy', not 'margin'"):
        Trades(beta=6.0, attack_loss="margin")
