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
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.ensemble import LogMeanSoftmax, mean_of_softmax
from robustft.models.self_supervised.pretext import permutations
from robustft.models.self_supervised.three_tasks import EnsembleHeads

from .test_pretext import TABLE, TINY
from .test_selfie import FULL, SMALL

LN3 = math.log(3)


def three_tasks() -> Classifier:
    torch.manual_seed(0)
    return EnsembleHeads(**SMALL, table=TABLE).prepare(build_classifier(TINY, shape=[1, 8, 8], classes=5)).eval()


def test_the_parameters_are_those_of_the_released_network_and_the_stem_it_forgot():
    # Fact sheet, section 2: 38,530,659 and Selfie's head; the released trunk lacks the stem's batch norm (B3), 2 x 64.
    backbone = {
        "implementation": "robustft.models.backbones.resnet_v2:ResNetV2",
        "parameters": {"width": 64, "blocks": [3, 4, 6, 3], "block": "bottleneck"},
        "normalisation": {"mean": [0.0] * 3, "std": [1.0] * 3},
    }
    with torch.device("meta"):
        model = EnsembleHeads(**FULL, table=TABLE).prepare(build_classifier(backbone, shape=[3, 32, 32], classes=10))
    assert sum(p.numel() for p in model.parameters()) == 38_530_659 + 2 * 64 + 109_207_552


def test_the_trunk_has_the_name_and_shape_that_fine_tuning_loads():
    # In the released code the names differ, so that nothing loads (B3).
    ours = {name: value.shape for name, value in three_tasks().state_dict().items() if ".trunk." in name}
    plain = build_classifier(TINY, shape=[1, 8, 8], classes=5).state_dict()
    assert ours == {name: value.shape for name, value in plain.items() if name.startswith("backbone.trunk.")}


def test_each_task_sees_its_own_input_and_logits_are_padded():
    model, x = three_tasks(), torch.rand(3, 3, 1, 8, 8)
    logits = model(x)
    assert logits.shape == (3, 31, 6)  # four cells, one permutation, one angle
    choices = logits.isfinite().sum(dim=1)
    assert choices.tolist() == [[4, 4, 4, 4, 31, 4]] * 3
    for task, columns in enumerate([[0, 1, 2, 3], [4], [5]]):
        other = x.clone()
        other[:, task] = torch.rand(3, 1, 8, 8)
        changed = (model(other) != logits).any(dim=1).any(dim=0).nonzero().flatten().tolist()
        assert changed == columns


def test_padding_changes_neither_loss_nor_gradient():
    model, x = three_tasks().double(), torch.rand(2, 3, 1, 8, 8, dtype=torch.float64)
    patches, _, rotated = model.backbone(model.normalise(x))
    y = torch.tensor([[0, 1, 2, 3, 30, 3], [0, 1, 2, 3, 0, 1]])
    angle = model.head.rotation(rotated)
    torch.testing.assert_close(cross_entropy(model(x), y)[:, 5], F.cross_entropy(angle, y[:, 5], reduction="none"))
    torch.testing.assert_close(
        cross_entropy(model(x), y)[:, :4],
        F.cross_entropy(model.head.selfie(patches), y[:, :4], reduction="none"),
    )
    (gradient,) = torch.autograd.grad(cross_entropy(model(x.requires_grad_()), y).sum(), x)
    assert gradient.isfinite().all()
    assert gradient.flatten(2).abs().amax(dim=2).min() > 0


def test_jigsaw_and_rotation_have_a_fourth_stage_each():
    model = three_tasks()
    jigsaw, rotation = (dict(stage.named_parameters()) for stage in (model.backbone.jigsaw, model.backbone.rotation))
    assert jigsaw.keys() == rotation.keys()
    assert all(jigsaw[name].data_ptr() != rotation[name].data_ptr() for name in jigsaw)
    assert not torch.equal(jigsaw["0.convolutions.0.weight"], rotation["0.convolutions.0.weight"])  # drawn again
    assert torch.equal(model.head.jigsaw.permutations, permutations(TABLE))


# -- the mean of several networks ------------------------------------------------------------------------------------


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
