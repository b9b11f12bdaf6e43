from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.threat import ThreatModel
from robustft.evaluate.probes import Probe, WithGradient, behaviour, differentiable

EPS = ThreatModel("linf", Fraction(1, 10))
X, Y = torch.full((4, 1, 2, 2), 0.5), torch.tensor([1, 1, 1, 1])


def linear(scale: float = 1.0) -> nn.Module:
    """Logits 0 and scale x (sum of pixels - 1.5): a pixel change of 1/8 of each pixel changes the class."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(scale * torch.tensor([[0.0] * 4, [1.0] * 4]))
        model[1].bias.copy_(scale * torch.tensor([0.0, -1.5]))
    return model.requires_grad_(False)


class Rounded(nn.Module):
    def forward(self, x):
        return linear()((x * 4).round() / 4)


def test_nothing_is_wrong_with_a_linear_model():
    values = Probe(linear(), X, Y, EPS).values()
    assert all(value == 0 for value in values.values()), values


def test_rounding_has_no_gradient_and_huge_logits_have_none_of_cross_entropy():
    assert Probe(Rounded(), X, Y, EPS).values()["no_gradient"] == 1
    values = Probe(linear(1e4), X, Y, ThreatModel("linf", Fraction(1, 5))).values()
    assert values["vanishing_cross_entropy"] == 1
    assert values["no_gradient"] == 0
    assert values["margin_beats_cross_entropy"] > 0.5


def test_a_gradient_that_points_the_other_way_is_seen():
    class Misleading(nn.Module):
        def forward(self, x):
            return linear()(2 * x.detach() - x)

    values = Probe(Misleading(), X, Y, EPS).values()
    assert values["misleading_gradient"] == 1


def test_without_a_right_image_there_is_nothing_to_probe():
    assert Probe(linear(), X[:0], Y[:0], EPS).values() == {}


def test_a_detached_model_is_told_from_a_differentiable_one_and_gets_a_zero_gradient():
    class Detached(nn.Module):
        def forward(self, x):
            return linear()(x.detach())

    assert differentiable(linear(), X)
    assert not differentiable(Detached(), X)
    assert Probe(WithGradient(Detached()), X, Y, EPS).values()["no_gradient"] == 1


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (lambda z, x: z - z.mean(0), "relative_batch_difference"),
        (lambda z, x: z * 0, "abstains"),
        (lambda z, x: torch.cat([z, z.amax(1, keepdim=True) + 1], 1), "abstains"),
    ],
)
def test_odd_behaviour_is_measured(forward, name):
    class Odd(nn.Module):
        def forward(self, x):
            return forward(linear()(x), x)

    x = torch.linspace(0, 1, 16).view(4, 1, 2, 2)
    assert max(behaviour(linear(), x, x[:0], classes=2).values()) < 1e-6
    assert behaviour(Odd(), x, x[:0], classes=2)[name] > 0


def test_gradients_and_changed_weights_at_test_time_are_seen():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = linear()

        def forward(self, x):
            with torch.enable_grad():
                self.network(x)
            return self.network(x)

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen += 1
            return linear()(x)

    for model in (Inner(), Counting()):
        assert behaviour(model, X, X[:0], classes=2)["learns_at_test_time"] == 1
