"""Square Attack in windows of queries: the steps of the package's loop of one query at a time."""

from __future__ import annotations

from fractions import Fraction

import pyautoattack
import pytest
import torch
from torch import Tensor, nn

from robustft.attacks.threat import ThreatModel
from robustft.speed.square_windows import WINDOW, Search, square

THREATS = {"linf": ThreatModel("linf", Fraction(3, 20)), "l2": ThreatModel("l2", Fraction(4, 5))}


def square_attack(model: nn.Module, norm: str, x: Tensor, *, queries: int):
    """Return the package's attack with its generator at the beginning."""
    names = {"linf": "Linf", "l2": "L2"}
    attack = pyautoattack.AutoAttack(model, norm=names[norm], eps=float(THREATS[norm].eps), seed=4).square
    attack.n_queries = queries
    attack.init_hyperparam(x)
    torch.manual_seed(4)
    return attack


@pytest.fixture
def correct(model, images) -> tuple[Tensor, Tensor]:
    """The images that the network classifies correctly, with their labels."""
    x, y = images
    right = model(x).argmax(1) == y
    return x[right], y[right]


@pytest.mark.parametrize("norm", THREATS)
def test_the_search_takes_the_packages_steps_with_any_size_of_batch(norm, model, correct):
    """The same draws, proposals and decisions: the same last image, whether it is broken or not."""
    x, y = correct
    attack = square_attack(model, norm, x, queries=200)
    _, expected = attack.attack_single_run(x, y)
    margin = attack.margin_and_loss(expected, y)[0].detach()
    assert 2 < (margin <= 0).sum() < len(y) - 2
    for room in (1, 40, 1000):
        x_adv = square(attack, x, y, room=room)
        broken = (x_adv != x).flatten(1).any(1)
        assert torch.equal(broken, margin <= 0)
        torch.testing.assert_close(x_adv[broken], expected[broken], atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", THREATS)
def test_the_draws_after_an_image_is_broken_are_the_packages(norm, model, correct, monkeypatch):
    """In l2 the package draws a sign for each open image; a window in which an image is broken is repeated."""
    x, y = correct
    attack = square_attack(model, norm, x, queries=2 * WINDOW)
    attack.attack_single_run(x, y)
    expected = torch.get_rng_state()
    searches: list[Search] = []
    original = Search.window
    monkeypatch.setattr(Search, "window", lambda self, *at: searches.append(self) or original(self, *at))
    square(attack, x, y, room=100)
    assert (searches[-1].margin <= 0).any()
    assert (searches[-1].margin > 0).any()
    assert torch.equal(torch.get_rng_state(), expected)


@pytest.mark.parametrize("norm", THREATS)
def test_without_queries_no_image_changes_but_those_that_the_start_breaks(norm, model, correct):
    x, y = correct
    attack = square_attack(model, norm, x, queries=0)
    x_adv = square(attack, x, y, room=100)
    unbroken = attack.margin_and_loss(x_adv, y)[0] > 0
    assert unbroken.any()
    assert torch.equal(x_adv[unbroken], x[unbroken])
    assert attack.n_queries == 0, "the attack has its number of queries back"
