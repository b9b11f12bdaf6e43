"""RayS on linear models, whose boundaries are known."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice

import pytest
import torch
from torch import nn

from robustft.attacks.rays_attack import _blocks, rays
from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError


class Linear(nn.Module):
    """Class 0 where w . x + c > 0, else class 1; answers are rounded, so there is no gradient. Counts its answers."""

    def __init__(self, w, c):
        super().__init__()
        self.w, self.c, self.answers = torch.tensor(w, dtype=torch.float64), c, 0

    def forward(self, x):
        self.answers += len(x)
        value = (x.flatten(1) @ self.w + self.c > 0).double()
        return torch.stack([value, 1 - value], dim=1)


# At x = 1/2 the value is 0.2, and falls fastest, by 4 rho, along -sign(w): the boundary is at rho = 0.05.
#   all four flipped:                 w . s =  0, never crossed          1 answer
#   halves flipped, each from (1, 1, 1, 1): 0, never crossed             2 answers
#   pixel 0, (-1, 1, 1, 1): w . s = -2, at rho = 0.1                     1 + 11 answers: 1 / 2^11 < 0.001 / 2 < 1 / 2^10
#   pixel 1, (-1, -1, 1, 1): 0, not crossed                              1 answer
#   pixel 2, (-1, 1, -1, 1): -4, at rho = 0.05                           1 + 8 answers: 0.1 / 2^8 < 0.0005 < 0.1 / 2^7
ALTERNATING = ([1.0, -1.0, 1.0, -1.0], 0.2)
BEFORE_PIXEL_2, ALL = 16, 25


def attacked(model, *, eps, queries=10_000, n=1, y=0):
    x = torch.full((n, 1, 2, 2), 0.5, dtype=torch.float64)
    labels = torch.full((n,), y)
    found = rays(
        model, x, labels, threat=ThreatModel("linf", Fraction(eps)), generator=torch.Generator(), queries=queries
    )
    return x, found


def test_the_boundary_is_found_along_the_best_signs_with_as_many_answers_as_by_hand():
    model = Linear(*ALTERNATING)
    x, found = attacked(model, eps="0.0505")
    assert model.answers == ALL
    assert model(found).argmax(1).item() == 1
    delta = (found - x).flatten()
    assert delta.sign().tolist() == [-1, 1, -1, 1]
    assert 0.05 <= delta.abs().max() <= 0.0505


def test_below_the_boundary_the_image_comes_back():
    x, found = attacked(Linear(*ALTERNATING), eps="0.0495", queries=300)
    assert torch.equal(found, x)


@pytest.mark.parametrize(("queries", "broken"), [(BEFORE_PIXEL_2, False), (BEFORE_PIXEL_2 + 1, True)])
def test_no_attempt_begins_when_the_answers_are_used_up(queries, broken):
    x, found = attacked(Linear(*ALTERNATING), eps="0.0505", queries=queries)
    assert torch.equal(found, x) is not broken


def test_an_image_that_is_broken_is_asked_no_more():
    model = Linear([1.0, 1.0, 1.0, 1.0], -1.8)
    # All four flipped: from 0.2 by 4 rho, crossed at 0.05; one check and 11 halvings of 1.
    attacked(model, eps="0.06", n=3)
    assert model.answers == 3 * 12


def test_a_wrong_image_stays_wrong_within_the_tolerance():
    model = Linear(*ALTERNATING)
    x, found = attacked(model, eps="1/100", y=1)
    assert model(found).argmax(1).item() == 0
    assert (found - x).abs().max() <= 1e-3


def test_the_result_is_in_0_1_and_in_the_ball():
    model = Linear([1.0, 1.0, -1.0, -1.0], 0.05)
    x = torch.tensor([0.01, 0.5, 0.5, 0.99], dtype=torch.float64).view(1, 1, 2, 2)
    model.c = 0.05 - float(x.flatten() @ model.w)
    found = rays(
        model, x, torch.zeros(1).long(), threat=ThreatModel("linf", Fraction(1, 20)),
        generator=torch.Generator(), queries=2000,
    )  # fmt: skip
    assert model(found).argmax(1).item() == 1
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - x).abs().max() <= 1 / 20


def test_blocks_are_halved_until_they_are_single_pixels_and_stay_so():
    spans = [(b.start, b.stop) for b in islice(_blocks(3), 9)]
    assert spans == [(0, 3), (0, 2), (2, 3), (0, 1), (1, 2), (2, 3), (0, 1), (1, 2), (2, 3)]


def test_another_norm_is_an_error():
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ConfigError, match="Linf"):
        rays(
            Linear(*ALTERNATING), x, torch.zeros(1).long(), threat=ThreatModel("l2", Fraction(1)),
            generator=torch.Generator(), queries=1,
        )  # fmt: skip
