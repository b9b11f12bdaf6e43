from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.standard import Standard
from robustft.methods.trades import Trades
from robustft.methods.twins import TwinsAT, TwinsTrades
from robustft.models.two_wing_batch_norm import TwoWingBatchNorm2d, halves, using

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)

AT = TwinsAT(lambda_frozen=0.5, lambda_adaptive=2.0)
TRADES = TwinsTrades(lambda_frozen=0.5, lambda_adaptive=2.0, beta=6.0, attack_loss="kl", kl_over="wing")
RELEASED = dataclasses.replace(TRADES, attack_loss="cross_entropy", kl_over="batch")


def on_one_wing(baseline, wing):
    """The loss of `baseline` on one wing of the network and on that wing's half of the batch."""

    def loss(model, x, x_adv, y):
        half = 0 if wing == "frozen" else 1
        parts = (halves(tensor)[half] for tensor in (x, x_adv, y))
        with using(model, wing):
            return baseline.loss(model, *parts).total

    return loss


def only(method, wing, **changes):
    """The method with weight 1 on one wing and 0 on the other."""
    weights = {"lambda_frozen": float(wing == "frozen"), "lambda_adaptive": float(wing == "adaptive")}
    return dataclasses.replace(method, **weights, **changes)


class TwinsCase(MethodCase):
    splits_batch = True

    def at_test_time(self, model):
        return using(model, "adaptive")

    def test_the_frozen_wing_is_not_what_is_exported(self, prepared, batch):
        x = batch[0]
        self.descend(prepared, batch, steps=3)
        prepared.eval()
        with using(prepared, "frozen"), torch.no_grad():
            frozen = prepared(x)
        with torch.no_grad():
            assert not torch.allclose(self.method.export(prepared).eval()(x), frozen)

    def test_the_halves_of_the_batch_are_not_interchangeable(self, prepared, batch):
        # The counterpart of the invariance within halves: without it a split that does nothing would pass.
        x, x_adv, y = (tensor[:8] for tensor in batch)
        swapped = torch.arange(8).roll(4)
        one = self.total(prepared, (x, x_adv, y)).item()
        other = self.total(prepared, (x[swapped], x_adv[swapped], y[swapped])).item()
        assert abs(one - other) > 1e-3

    def test_the_attack_does_not_see_the_frozen_wing(self, prepared, batch):
        x, _, y = batch
        adversarial = self.method.attack(prepared, x, y, budget=BUDGET, generator=seeded())
        other = copy.deepcopy(prepared)
        for layer in other.modules():
            if isinstance(layer, TwoWingBatchNorm2d):
                layer.frozen.running_mean += 1.0
                layer.frozen.running_var *= 3.0
                layer.frozen.weight.data *= -1.0
                layer.frozen.bias.data += 1.0
        assert torch.equal(adversarial, self.method.attack(other, x, y, budget=BUDGET, generator=seeded()))

    def test_the_attack_sees_the_adaptive_wings_running_statistics(self, prepared, batch):
        x, _, y = batch
        adversarial = self.method.attack(prepared, x, y, budget=BUDGET, generator=seeded())
        other = copy.deepcopy(prepared)
        for layer in other.modules():
            if isinstance(layer, TwoWingBatchNorm2d):
                layer.adaptive.running_mean += torch.linspace(-1, 1, len(layer.adaptive.running_mean))
        assert not torch.equal(adversarial, self.method.attack(other, x, y, budget=BUDGET, generator=seeded()))

    def test_an_images_attack_does_not_depend_on_its_batch(self, prepared, batch):
        # It would under batch statistics. The first image's random start is the same in both calls.
        x, _, y = batch
        together = self.method.attack(prepared, x, y, budget=BUDGET, generator=seeded())
        shuffled = x.clone()  # the others mirrored
        shuffled[1:] = x[1:].flip(3)
        other = self.method.attack(prepared, shuffled, y, budget=BUDGET, generator=seeded())
        torch.testing.assert_close(together[0], other[0], rtol=0, atol=1e-12)
        assert not torch.equal(together[1:], other[1:])


class TestTwinsATCase(TwinsCase):
    method = AT

    def reductions(self):
        at = AdversarialTraining()
        return [
            Reduction(f"AT on the {wing} wing and its half", only(AT, wing), on_one_wing(at, wing))
            for wing in ("frozen", "adaptive")
        ]


class TestTwinsTradesCase(TwinsCase):
    method = TRADES

    def reductions(self):
        trades, found = Trades(beta=6.0, attack_loss="kl"), []
        for wing in ("frozen", "adaptive"):
            found += [
                Reduction(f"TRADES on the {wing} wing", only(self.method, wing), on_one_wing(trades, wing)),
                Reduction(
                    f"no KL with beta 0: standard training on the {wing} wing",
                    only(self.method, wing, beta=0.0),
                    on_one_wing(Standard(), wing),
                ),
            ]
        return found


class TestTwinsTradesReleasedCase(TwinsCase):
    method = RELEASED

    def reductions(self):
        # Nine images: five in the frozen wing, four in the adaptive one, and both sums of KL divided by nine.
        return [
            Reduction(
                f"TRADES on the {wing} wing with beta 6 x {count}/9",
                only(self.method, wing),
                on_one_wing(Trades(beta=6.0 * count / 9, attack_loss="cross_entropy"), wing),
            )
            for wing, count in (("frozen", 5), ("adaptive", 4))
        ]


def values(loss):
    return {name: term.item() for name, term in loss.terms.items()}


def near(value):
    return pytest.approx(value, abs=1e-14)


def test_twins_at_by_hand_with_unequal_weights():
    # The first two images are the frozen wing's: logits (ln 3, 0), labels 0 and 1: mean CE ln(16/3)/2.
    # The last two are the adaptive wing's: logits (0, 0): mean CE ln 2.
    x_adv = logits([LN3, 0.0], [LN3, 0.0], [0.0, 0.0], [0.0, 0.0])
    loss = AT.loss(Logits(), torch.full_like(x_adv, math.nan), x_adv, torch.tensor([0, 1, 0, 1]))
    assert values(loss) == {
        "frozen/cross_entropy": near(0.5 * math.log(16 / 3) / 2),
        "adaptive/cross_entropy": near(2.0 * LN2),
    }


def test_an_odd_batch_gives_its_extra_image_to_the_frozen_wing():
    # Three images: logits (ln 3, 0) twice with label 0 in the frozen wing, (0, 0) alone in the adaptive one.
    x_adv = logits([LN3, 0.0], [LN3, 0.0], [0.0, 0.0])
    loss = AT.loss(Logits(), x_adv, x_adv, torch.tensor([0, 0, 0]))
    assert values(loss) == {
        "frozen/cross_entropy": near(0.5 * math.log(4 / 3)),
        "adaptive/cross_entropy": near(2.0 * LN2),
    }


def one_layer() -> nn.Sequential:
    """Grey images of two pixels -> logits, through one batch norm with pre-training mean 2 and variance 4."""
    norm = nn.BatchNorm2d(1, eps=1e-30).double()
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    return nn.Sequential(TwoWingBatchNorm2d(norm), nn.Flatten()).train()


def test_the_first_half_passes_the_frozen_wing_and_the_second_the_adaptive_one():
    # Frozen, (x - 2)/2: (2, 2 + 2 ln 3) -> (0, ln 3), label 1: CE ln(4/3), twice.
    # Adaptive: the four pixels 10, 30, 30, 10 have mean 20 and variance 100 -> (-1, 1), (1, -1), labels 1 and 0:
    # CE ln(1 + e^-2), twice.
    bright = 2 + 2 * LN3
    x_adv = logits([2.0, bright], [2.0, bright], [10.0, 30.0], [30.0, 10.0])
    loss = AT.loss(one_layer(), x_adv, x_adv, torch.tensor([1, 1, 1, 0]))
    assert values(loss) == {
        "frozen/cross_entropy": near(0.5 * math.log(4 / 3)),
        "adaptive/cross_entropy": near(2.0 * math.log1p(math.exp(-2))),
    }


CLEAN = logits([0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0])
ADVERSARIAL = logits([LN4, 0.0], [0.0, 0.0], [LN4, 0.0], [LN4, 0.0])
# Clean (1/2, 1/2) everywhere, adversarial (4/5, 1/5) or equal: KL ln(5/4) or 0, in sum ln(5/4) in the frozen half and
# 2 ln(5/4) in the adaptive one.
KL = math.log(5 / 4)


@pytest.mark.parametrize(
    ("kl_over", "frozen", "adaptive"),
    [
        ("wing", 0.5 * 6 * KL / 2, 2.0 * 6 * 2 * KL / 2),  # beta 6 on each wing's own mean
        ("batch", 0.5 * 6 * KL / 4, 2.0 * 6 * 2 * KL / 4),  # as released: half of it
    ],
)
def test_twins_trades_by_hand(kl_over, frozen, adaptive):
    loss = dataclasses.replace(TRADES, kl_over=kl_over).loss(Logits(), CLEAN, ADVERSARIAL, torch.tensor([0, 1, 0, 1]))
    assert values(loss) == {
        "frozen/cross_entropy": near(0.5 * LN2),
        "frozen/kl": near(frozen),
        "adaptive/cross_entropy": near(2.0 * LN2),
        "adaptive/kl": near(adaptive),
    }


def test_twins_trades_of_an_odd_batch_by_hand():
    # Three images: two in the frozen wing (KL ln(5/4) and 0), one in the adaptive one (KL ln(5/4)).
    x, x_adv, y = CLEAN[:3], ADVERSARIAL[:3], torch.tensor([0, 1, 0])
    wing = values(TRADES.loss(Logits(), x, x_adv, y))
    assert wing["frozen/kl"] == near(0.5 * 6 * KL / 2)
    assert wing["adaptive/kl"] == near(2.0 * 6 * KL / 1)
    batch = values(dataclasses.replace(TRADES, kl_over="batch").loss(Logits(), x, x_adv, y))
    assert batch["frozen/kl"] == near(0.5 * 6 * KL / 3)
    assert batch["adaptive/kl"] == near(2.0 * 6 * KL / 3)


def test_the_target_of_each_kl_is_the_clean_prediction_and_neither_side_is_detached():
    # Two images, one a wing, weights 1, beta 1: gradients of KL((1/2, 1/2) || (4/5, 1/5)) with respect to the clean
    # logits (-ln 2/2, ln 2/2) and to the adversarial ones (3/10, -3/10); the reverse KL would be 0.1927, not 0.2231.
    x, x_adv = logits([0.0, 0.0], [0.0, 0.0]).requires_grad_(), logits([LN4, 0.0], [LN4, 0.0]).requires_grad_()
    method = dataclasses.replace(TRADES, lambda_frozen=1.0, lambda_adaptive=1.0, beta=1.0)
    terms = method.loss(Logits(), x, x_adv, torch.tensor([0, 0])).terms
    assert terms["frozen/kl"].item() == near(KL)
    assert terms["adaptive/kl"].item() == near(KL)
    (terms["frozen/kl"] + terms["adaptive/kl"]).backward()
    assert x.grad.flatten().tolist() == near([-LN2 / 2, LN2 / 2] * 2)
    assert x_adv.grad.flatten().tolist() == near([0.3, -0.3] * 2)


def test_running_statistics_follow_the_adversarial_half_and_then_the_clean_one():
    # Momentum 0.1 from mean 2: adversarial second half of mean 20: 0.9*2 + 0.1*20 = 3.8; then the clean one of
    # mean 40: 0.9*3.8 + 0.1*40 = 7.42 (the other order would give 7.22). The first halves must not count.
    model = one_layer()
    x_adv = logits([99.0, 77.0], [55.0, 33.0], [10.0, 30.0], [30.0, 10.0])
    x = logits([-9.0, -7.0], [-5.0, -3.0], [30.0, 50.0], [50.0, 30.0])
    TRADES.loss(model, x, x_adv, torch.tensor([0, 1, 0, 1]))
    assert model[0].adaptive.running_mean.item() == pytest.approx(7.42, abs=1e-12)
    assert model[0].frozen.running_mean.item() == 2.0


def test_running_statistics_of_twins_at_see_adversarial_images_only():
    model = one_layer()
    x_adv = logits([99.0, 77.0], [55.0, 33.0], [10.0, 30.0], [30.0, 10.0])
    AT.loss(model, x_adv + 1000, x_adv, torch.tensor([0, 1, 0, 1]))
    assert model[0].adaptive.running_mean.item() == pytest.approx(3.8, abs=1e-12)  # 0.9*2 + 0.1*20


def plain_attack(method, model, x, y):
    """The attack of a one-network method on the adaptive wing."""
    with using(model, "adaptive"):
        return method.attack(model, x, y, budget=BUDGET, generator=seeded(4))


@pytest.mark.parametrize(
    ("method", "attack"),
    [
        (AT, AdversarialTraining()),
        (TRADES, Trades(beta=6.0, attack_loss="kl")),
        (RELEASED, Trades(beta=6.0, attack_loss="cross_entropy")),
        (RELEASED, AdversarialTraining()),
    ],
)
def test_each_variant_attacks_as_its_one_network_method_does_on_the_adaptive_wing(
    method, attack, tiny_model, random_batch
):
    x, y = random_batch(6)
    model = method.prepare(tiny_model(lived=True)).train()
    for layer in model.modules():
        if isinstance(layer, TwoWingBatchNorm2d):
            layer.frozen.weight.data *= -1.0  # so that the wings differ
    for wing in ("both", "frozen"):  # whatever wing acts outside, the adaptive one is attacked
        with using(model, wing):
            adversarial = method.attack(model, x, y, budget=BUDGET, generator=seeded(4))
        assert torch.equal(adversarial, plain_attack(attack, model, x, y))


def test_the_released_attack_is_not_the_published_one(tiny_model, random_batch):
    x, y = random_batch(6)
    model = TRADES.prepare(tiny_model(lived=True))
    published = TRADES.attack(model, x, y, budget=BUDGET, generator=seeded(4))
    assert not torch.equal(published, RELEASED.attack(model, x, y, budget=BUDGET, generator=seeded(4)))


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        AT.loss(Logits(), CLEAN[:1], CLEAN[:1], torch.tensor([0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack_loss": "margin"}, "'kl' or 'cross_entropy', not 'margin'"),
        ({"kl_over": "half"}, "'wing' or 'batch', not 'half'"),
    ],
)
def test_an_unknown_variant_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TRADES, **change)
