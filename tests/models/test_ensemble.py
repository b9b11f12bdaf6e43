"""The mean of several classifiers' probabilities, as one classifier."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.evaluate.checks import model_checks
from robustft.models.classifier import Classifier
from robustft.models.ensemble import LogMeanSoftmax, mean_of_softmax

LN3 = math.log(3)


def test_the_mean_is_of_probabilities_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4), softmax(0, 0) = (1/2, 1/2): mean (5/8, 3/8). The mean of the logits would be
    # softmax(ln 3 / 2, 0) = (0.634, 0.366).
    logits = torch.tensor([[[LN3, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    assert LogMeanSoftmax()(logits).exp().flatten().tolist() == pytest.approx([5 / 8, 3 / 8], abs=1e-15)


def test_cross_entropy_of_the_ensemble_is_that_of_its_mean_and_no_double_softmax():
    # B11: the released ensemble returns probabilities, of which cross-entropy takes a softmax again: -log softmax(p)
    # at p = (5/8, 3/8) is ln(1 + e^(-1/4)) = 0.576 instead of ln(8/5) = 0.470, and its gradient fades.
    log_p = LogMeanSoftmax()(torch.tensor([[[LN3, 0.0], [0.0, 0.0]]], dtype=torch.float64))
    assert cross_entropy(log_p, torch.tensor([0])).item() == pytest.approx(math.log(8 / 5), abs=1e-15)
    doubled = cross_entropy(log_p.exp(), torch.tensor([0])).item()
    assert doubled == pytest.approx(math.log(1 + math.exp(-1 / 4)), abs=1e-15)


def test_confident_members_do_not_underflow():
    logits = torch.tensor([[[500.0, 0.0], [400.0, 0.0]]])
    log_p = LogMeanSoftmax()(logits)
    assert log_p.isfinite().all()
    assert log_p[0, 1].item() == pytest.approx(-400 - math.log(2), abs=1e-3)


@pytest.fixture
def members(tiny_model) -> list[Classifier]:
    return [tiny_model(seed=seed, lived=True).eval() for seed in range(3)]


def test_one_member_is_itself(members, random_batch):
    x, _ = random_batch(4)
    torch.testing.assert_close(mean_of_softmax(members[:1])(x), F.log_softmax(members[0](x), dim=1))


def test_the_ensemble_is_an_ordinary_classifier_of_three(members, random_batch):
    ensemble = mean_of_softmax(members).eval()
    assert type(ensemble) is Classifier
    x, y = random_batch(5)
    expected = torch.stack([F.softmax(member(x), dim=1) for member in members]).mean(dim=0)
    torch.testing.assert_close(ensemble(x).exp(), expected)
    assert sum(p.numel() for p in ensemble.parameters()) == 3 * sum(p.numel() for p in members[0].parameters())
    checks = model_checks(ensemble, x, y, threat=ThreatModel("linf", Fraction(1, 10)))
    assert checks["probabilities"] == 0
    assert checks["logits_not_finite"] == 0


def test_the_ensemble_is_attacked_end_to_end(members, random_batch):
    # One perturbation, against the mean: not one for each branch, which the released code's three inputs allow (B11).
    ensemble = mean_of_softmax(members).eval()
    x, y = random_batch(6)
    assert ensemble(x).shape == (6, 5)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(ensemble(leaf), y).sum(), leaf)
    by_member = []
    for member in members:
        (own,) = torch.autograd.grad(cross_entropy(member(leaf), y).sum(), leaf)
        by_member.append(own)
    p = torch.stack([F.softmax(member(x), dim=1).gather(1, y[:, None]) for member in members])
    # d(-log mean p) = sum of p_m d(-log p_m) / sum of p_m.
    weights = (p / p.sum(dim=0))[..., None, None]
    torch.testing.assert_close(gradient, sum(w * g for w, g in zip(weights, by_member, strict=True)))
    budget = Budget(ThreatModel("linf", Fraction(1, 10)), 5, Fraction(1, 4))
    x_adv = pgd(ensemble, x, budget=budget, objective=lambda z: cross_entropy(z, y), start="none")
    assert cross_entropy(ensemble(x_adv), y).mean() > cross_entropy(ensemble(x), y).mean()


def test_members_keep_their_own_normalisation():
    # Each member normalises inside, so the ensemble's input is the image itself.
    models = [Classifier(nn.Identity(), nn.Flatten(), nn.Linear(1, 2)) for _ in range(2)]
    assert isinstance(mean_of_softmax(models).normalise, nn.Identity)
