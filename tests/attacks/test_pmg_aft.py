"""The attacks of the code released with PMG-AFT."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.pmg_aft import pgd_autocast, with_scale_1, with_scale_100
from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError

THREAT = ThreatModel("linf", Fraction(1, 16))


class Head(nn.Module):
    """Logits are `scale` times the features."""

    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", torch.tensor(scale))

    def forward(self, features):
        return self.scale * features


class Cosines(nn.Module):
    """Two features of an image, weights times pixels, and a head with a scale."""

    def __init__(self, weights, scale):
        super().__init__()
        self.head = Head(scale)
        self.register_buffer("weights", weights)

    def forward(self, x):
        return self.head(x.flatten(1) @ self.weights)


def seeded():
    return torch.Generator().manual_seed(0)


def pixels(n):
    return 0.2 + 0.6 * torch.rand(n, 1, 2, 2, generator=seeded())


def start(x):
    return THREAT.project(x + THREAT.uniform(x, seeded()), x)


def attacked(model, x, y, *, steps=10, step_over_eps="1"):
    return pgd_autocast(model, x, y, threat=THREAT, generator=seeded(), steps=steps, step_over_eps=step_over_eps)


@pytest.mark.parametrize(("own", "change", "expected"), [(100.0, with_scale_1, 1.0), (1.0, with_scale_100, 100.0)])
def test_logits_have_the_other_scale_and_predictions_stay(own, change, expected):
    model, x = Cosines(torch.tensor([[0.5, -0.25]] * 4), own), pixels(3)
    seen = change(model)
    torch.testing.assert_close(seen(x), expected * (x.flatten(1) @ model.weights))
    assert torch.equal(seen(x).argmax(1), model(x).argmax(1))


def test_the_scale_changes_the_gradients_size_and_softmax():
    # Two classes: d CE / d z = p - 1. At z = (1, 0): p = 1 / (1 + e^-1) = 0.73106; at (100, 0): 1 to the last digit.
    model, y = Cosines(torch.tensor([[1.0, 0.0]] + [[0.0, 0.0]] * 3), 100.0), torch.zeros(1).long()
    x = torch.ones(1, 1, 2, 2)
    losses = [cross_entropy(seen(x), y).item() for seen in (model, with_scale_1(model))]
    assert losses == pytest.approx([0.0, 0.313262], abs=1e-6)


def test_a_head_without_a_scale_is_an_error():
    with pytest.raises(ConfigError, match="logit scale"):
        with_scale_1(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


def test_where_no_gradient_is_lost_it_is_pgd():
    model, x, y = Cosines(torch.tensor([[1.0, -1.0]] * 4), 1.0), pixels(4), torch.tensor([0, 1, 0, 1])
    budget = Budget(THREAT, 10, Fraction(1))
    ours = pgd(model, x, budget=budget, objective=lambda z: cross_entropy(z, y), start="uniform", generator=seeded())
    torch.testing.assert_close(attacked(model, x, y), ours)


def test_a_mean_over_many_images_underflows_and_leaves_pixels_at_their_random_start():
    # |d mean / d x| = 0.5 * 1e-5 / 256 = 2e-8, less than half of float16's smallest number, 6e-8: it is rounded to 0.
    # Of four images alone it is 1.25e-6, and the attack moves.
    model, y = Cosines(torch.tensor([[1e-5, 0.0]] * 4), 1.0), torch.zeros(256).long()
    x = pixels(256)
    assert torch.equal(attacked(model, x, y), start(x))
    few = attacked(model, x[:4], y[:4])
    torch.testing.assert_close(few, x[:4] - 1 / 16)


def test_the_result_is_in_the_ball_in_0_1_and_detached():
    model, y = Cosines(torch.tensor([[1.0, -1.0]] * 4), 1.0), torch.tensor([0, 1])
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2).contiguous()
    found = attacked(model, x, y, step_over_eps="1/2")
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - x).abs().max() <= 1 / 16 + 1e-7
