from __future__ import annotations

from fractions import Fraction

import torch

from robustft.attacks.inner_maximization import noisy_step
from robustft.attacks.pgd import Budget
from robustft.attacks.threat import ThreatModel
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.n_fgsm import NFgsm

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded


class TestNFgsmCase(MethodCase):
    method = NFgsm()
    reach = 3.0  # noise of 2 eps and a step of eps, and no projection: the method's own rule

    def reductions(self):
        def adversarial(model, x, x_adv, y):
            return AdversarialTraining().loss(model, x, x_adv, y).total

        return [Reduction("adversarial training, on other images", self.method, adversarial)]


def test_the_step_of_the_authors_experiments_is_eps_not_a_quarter_more():
    # Their command at eps 8/255 is `--epsilon 8 --alpha 8 --unif 2`. Logits are pixels, so the signs are known.
    budget = Budget(ThreatModel("linf", Fraction(8, 255)), 10, Fraction(1, 4))
    x = logits([0.5, 0.5])
    x_adv = NFgsm().attack(Logits(), x, torch.tensor([0]), budget=budget, generator=seeded(3))
    noise = ThreatModel("linf", Fraction(16, 255)).uniform(x, seeded(3))
    step = torch.tensor([-8 / 255, 8 / 255], dtype=torch.float64).view(1, 1, 1, 2)
    torch.testing.assert_close(x_adv - x, noise + step, rtol=0, atol=1e-15)


def test_its_images_do_leave_the_ball(tiny_model, random_batch):
    x, y = random_batch(12)
    x_adv = NFgsm().attack(tiny_model(lived=True), x, y, budget=BUDGET, generator=seeded())
    distance = BUDGET.threat.distance(x_adv, x)
    assert (distance > 1.2 * 0.1).all()
    assert distance.max() <= 3 * 0.1 + 1e-6


def test_noise_then_one_step_by_hand():
    # Logits are pixels, label 0: CE falls with pixel 0 and rises with pixel 1, so the signs are (-, +) and the step is
    # 0.1. The noise is U(-0.2, 0.2), of the same draws; pixels at the ends stay in [0, 1] both times.
    x = logits([0.5, 0.5], [0.0, 1.0])
    x_adv = NFgsm().attack(Logits(), x, torch.tensor([0, 0]), budget=BUDGET, generator=seeded(4))
    noise = ThreatModel("linf", Fraction(1, 5)).uniform(x, seeded(4))
    assert noise.abs().max() > 0.1
    step = torch.tensor([-0.1, 0.1], dtype=torch.float64).view(1, 1, 1, 2)
    torch.testing.assert_close(x_adv, ((x + noise).clamp(0, 1) + step).clamp(0, 1), rtol=0, atol=1e-15)
    assert x_adv[1, 0, 0, 0] == 0.0


def test_steps_and_their_size_come_from_the_method_not_the_budget(tiny_model, random_batch):
    x, y = random_batch(6)
    model = tiny_model(lived=True)
    one, other = (
        NFgsm().attack(model, x, y, budget=Budget(BUDGET.threat, steps, size), generator=seeded())
        for steps, size in ((1, Fraction(1)), (7, Fraction(1, 4)))
    )
    assert torch.equal(one, other)


def test_without_noise_it_is_fgsm(tiny_model, random_batch):
    x, y = random_batch(6)
    model = tiny_model(lived=True).eval()
    x_adv = noisy_step(model, x, y, budget=BUDGET, generator=seeded(), noise_over_eps=0.0, step_over_eps=1.0)
    leaf = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(leaf), y).backward()
    assert torch.equal(x_adv, (x + 0.1 * leaf.grad.sign()).clamp(0, 1))
