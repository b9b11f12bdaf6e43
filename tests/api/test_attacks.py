"""Attacks on any module: models stay as they were, strengths are right, and what does not fit is refused in words."""

from fractions import Fraction

import pytest
import torch
from torch import nn

import robustft
from robustft.attacks.autoattack import AutoAttackShard

LINF = robustft.threat("linf", "16/255")


class Recorder(nn.Module):
    """A user's model with what an attack could disturb: batch norm, dropout, a frozen layer, a mode of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop, self.head = nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Linear(64, 5)
        self.norm.requires_grad_(False)

    def forward(self, x):
        assert not self.training
        assert not self.drop.training
        return self.head(self.drop(self.norm(x)).flatten(1))


def state(model: nn.Module) -> tuple[object, ...]:
    """Return all that an attack must leave alone."""
    tensors = [tensor.clone() for tensor in model.state_dict().values()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    return (
        [tensor.tolist() for tensor in tensors],
        [None if grad is None else grad.tolist() for grad in grads],
        [module.training for module in model.modules()],
        [(p.requires_grad, p.device) for p in model.parameters()],
        torch.random.get_rng_state().tolist(),
    )


ATTACKS = {
    "pgd": lambda model, x, y, **options: robustft.pgd(model, x, y, steps=3, **{"threat": LINF, **options}),
    "autoattack": lambda model, x, y, **options: robustft.autoattack(model, x, y, **{"threat": LINF, **options}),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_model_in_training_mode_is_attacked_in_evaluation_mode_and_put_back(attack, class_patterns):
    x, y = class_patterns(10)
    model = Recorder()
    model.train().norm.eval()
    model.head.weight.grad = torch.ones(5, 64)
    before = state(model)
    with pytest.warns(UserWarning, match="training mode"):
        x_adv = attack(model, x, y)
    assert state(model) == before
    assert not x_adv.requires_grad
    assert LINF.distance(x_adv, x).max() <= 16 / 255 + 1e-6
    assert 0 <= x_adv.min() <= x_adv.max() <= 1


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_a_model_stays_as_it_was_when_an_attack_fails(attack, class_patterns):
    class Failing(Recorder):
        passes = 0

        def forward(self, x):
            self.passes += 1
            if self.passes > 2:
                raise ZeroDivisionError
            return super().forward(x)

    model = Failing().eval()
    model.drop.train()
    before = state(model)
    with pytest.warns(UserWarning, match="training mode"), pytest.raises(ZeroDivisionError):
        attack(model, *class_patterns(10))
    assert state(model) == before


def breakable() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Return a linear model and images that it classifies correctly, but for the first one."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).eval()
    x = torch.rand(9, 1, 8, 8)
    y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 5
    return model, x, y


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_one_seed_gives_one_result(attack):
    model, x, y = breakable()
    strong = robustft.threat("linf", "64/255")
    first = attack(model, x, y, threat=strong)
    torch.rand(3)
    assert torch.equal(first, attack(model, x, y, threat=strong))
    assert not torch.equal(first, attack(model, x, y, threat=strong, seed=1))


def test_pgd_raises_what_its_objective_names(tiny_model, class_patterns):
    x, y = class_patterns(20)
    model = tiny_model(lived=True).eval()
    with torch.no_grad():
        clean = nn.functional.cross_entropy(model(x), y)
        for threat in (LINF, robustft.threat("l2", 0.5), robustft.threat("l1", 4)):
            attacked = nn.functional.cross_entropy(model(robustft.pgd(model, x, y, threat=threat)), y)
            assert attacked > clean
    by_margin = robustft.pgd(model, x, y, threat=LINF, objective="margin")
    assert not torch.equal(by_margin, robustft.pgd(model, x, y, threat=LINF))
    small = robustft.pgd(model, x, y, threat=LINF, steps=1, step_size="1/2550", seed=3)
    large = robustft.pgd(model, x, y, threat=LINF, steps=1, step_size="1/255", seed=3)
    assert (small - large).abs().max() == pytest.approx(0.9 / 255, abs=1e-6)


@pytest.mark.parametrize("threat", [robustft.threat("linf", "64/255"), robustft.threat("l2", 2)], ids=str)
def test_autoattack_breaks_the_images_that_the_ensemble_breaks(threat):
    model, x, y = breakable()
    ensemble = AutoAttackShard(model.requires_grad_(False), threat=threat, classes=5, seed=0, device=x.device)
    outcome = ensemble.run(x, y, ensemble.clean(x))
    x_adv = robustft.autoattack(model, x, y, threat=threat)
    assert torch.equal(model(x_adv).argmax(1), outcome.prediction)
    torch.testing.assert_close(threat.distance(x_adv, x), outcome.distance)
    broken = torch.tensor([name != "" for name in outcome.broken_by])
    assert broken.tolist() == [False] + 8 * [True]  # the first one is misclassified already
    assert torch.equal((x_adv != x).flatten(1).any(1), broken)
    parts = robustft.autoattack(model, x, y, threat=threat, batch_size=5)
    assert torch.equal(parts[:5], robustft.autoattack(model, x[:5], y[:5], threat=threat))


def test_autoattack_returns_what_nothing_breaks_as_it_was():
    model, x, y = breakable()
    x_adv = robustft.autoattack(model, x[:3], y[:3], threat=robustft.threat("linf", 0))
    assert torch.equal(x_adv, x[:3])


X, Y = torch.full((2, 1, 8, 8), 0.5), torch.tensor([0, 4])
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(64, 5)).eval()
BAD = {
    "above": (MODEL, X + 1, Y, "must lie in"),
    "below": (MODEL, X - 1, Y, "must lie in"),
    "not a number": (MODEL, X * torch.nan, Y, "must lie in"),
    "bytes": (MODEL, X.byte(), Y, "floating point"),
    "no images": (MODEL, X[:0], Y[:0], "images"),
    "one image": (MODEL, X[0], Y, "images"),
    "fewer labels": (MODEL, X, Y[:1], "a label"),
    "labels as floats": (MODEL, X, Y.float(), "int64"),
    "unknown class": (MODEL, X, Y + 1, "none of the model's classes"),
    "negative class": (MODEL, X, Y - 1, "none of the model's classes"),
    "two devices": (MODEL, X, Y.to("meta"), "one device"),
    "no logits": (nn.Identity().eval(), X, Y, "logits"),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize(("model", "x", "y", "text"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused(attack, model, x, y, text):
    with pytest.raises(robustft.RobustftError, match=text):
        attack(model, x, y)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: robustft.threat("linff", "8/255"), "did you mean 'linf'"),
        (lambda: robustft.threat("linf", "8/x"), "no number"),
        (lambda: robustft.threat("linf", "-1/255"), "negative"),
        (lambda: robustft.pgd(MODEL, X, Y, threat=LINF, steps=0), "at least one step"),
        (lambda: robustft.pgd(MODEL, X, Y, threat=LINF, step_size=0), "positive"),
        (lambda: robustft.pgd(MODEL, X, Y, threat=LINF, objective="margins"), "did you mean 'margin'"),
        (lambda: robustft.autoattack(MODEL, X, Y, threat=robustft.threat("l1", 1)), "linf and l2"),
        (lambda: robustft.autoattack(MODEL, X, Y, threat=LINF, batch_size=0), "batch_size"),
    ],
)
def test_a_wrong_argument_is_named(call, text):
    with pytest.raises(robustft.RobustftError, match=text):
        call()


@pytest.mark.parametrize(
    ("eps", "exact"), [("8/255", Fraction(8, 255)), (8 / 255, Fraction(8, 255)), (0.031, Fraction(31, 1000)),
                       (1, Fraction(1)), (0.1234567, Fraction(1234567, 10**7)), (Fraction(1, 3), Fraction(1, 3))]
)  # fmt: skip
def test_eps_is_the_exact_fraction_that_is_meant(eps, exact):
    assert robustft.threat("linf", eps).eps == exact
