from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from robustft.attacks.objectives import boosted_cross_entropy, cross_entropy
from robustft.attacks.pgd import pgd
from robustft.methods.mart import Mart

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)


class TestMartCase(MethodCase):
    method = Mart(beta=6.0)

    def reductions(self):
        def boosted(model, x, x_adv, y):
            return boosted_cross_entropy(model(x_adv), y).mean()

        return [Reduction("adversarial training on boosted cross-entropy, with beta 0", Mart(beta=0.0), boosted)]


def test_loss_by_hand():
    # Image 1, label 1: p = (1/2, 1/2), q = (4/5, 1/5): BCE = ln 5 - ln(1 - 4/5) = 2 ln 5, KL ln(5/4), weight 1 - 1/2.
    # Image 2, label 0: p = q = (3/4, 1/4): BCE = ln(4/3) - ln(1 - 1/4) = 2 ln(4/3), KL 0.
    x, x_adv = logits([0.0, 0.0], [LN3, 0.0]), logits([LN4, 0.0], [LN3, 0.0])
    loss = Mart(beta=6.0).loss(Logits(), x, x_adv, torch.tensor([1, 0]))
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "boosted_cross_entropy": pytest.approx(math.log(5) + math.log(4 / 3), abs=1e-15),
        "kl": pytest.approx(6 * math.log(5 / 4) / 2 / 2, abs=1e-15),
    }


def test_the_weight_of_the_kl_is_not_detached():
    # p = (1/2, 1/2), label 1, weight 1/2; gradient of KL (-ln 2/2, ln 2/2), of p_1 (-1/4, 1/4):
    # d [KL (1 - p_1)] / d clean = KL' / 2 - KL p_1' = (-ln 2/4 + ln(5/4)/4, ln 2/4 - ln(5/4)/4).
    x, x_adv = logits([0.0, 0.0]).requires_grad_(), logits([LN4, 0.0])
    Mart(beta=4.0).loss(Logits(), x, x_adv, torch.tensor([1])).terms["kl"].backward()
    first = -LN2 + math.log(5 / 4)
    assert x.grad.flatten().tolist() == pytest.approx([first, -first], abs=1e-14)


def test_an_image_that_is_surely_right_has_no_weight():
    # 1 - p_0 = 1 / (1 + e^40) = 4.2e-18, which 1 - p rounds to 0 and this keeps; KL is about 40.
    x, x_adv = logits([40.0, 0.0]), logits([-40.0, 0.0])
    kl = Mart(beta=1.0).loss(Logits(), x, x_adv, torch.tensor([0])).terms["kl"].item()
    assert kl == pytest.approx(40 / (1 + math.exp(40)), rel=1e-12)


@pytest.mark.parametrize("start", ["gaussian", "uniform"])
def test_the_attack_is_pgd_on_cross_entropy(start, tiny_model, random_batch):
    x, y = random_batch(6)
    method = Mart(beta=6.0, start=start)
    adversarial = method.attack(tiny_model(lived=True).train(), x, y, budget=BUDGET, generator=seeded(4))
    objective = partial(cross_entropy, y=y)
    expected = pgd(
        tiny_model(lived=True).eval(), x, budget=BUDGET, objective=objective, start=start, generator=seeded(4)
    )
    assert torch.equal(adversarial, expected)


def test_the_released_start_is_the_default():
    assert Mart(beta=6.0).start == "gaussian"
