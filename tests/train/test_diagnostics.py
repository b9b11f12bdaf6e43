from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustft.data.batches import Images
from robustft.methods.protocol import Loss
from robustft.methods.standard import Standard
from robustft.methods.twins import TwinsAT
from robustft.models.backbones.vit import ViT
from robustft.models.classifier import Classifier, Normalise
from robustft.models.tunings.prompts import PromptedViT, without_prompts
from robustft.train import diagnostics
from robustft.train.diagnostics import (
    convolutions,
    flat_weights,
    gradient_diagnostics,
    loss_along,
    weight_diagnostics,
    with_ratios,
)


class TwoConvolutions(nn.Module):
    """Weights (3, 4) and (12), so |w| = 13, and a head that must not count."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, (1, 2), bias=False)
        self.second = nn.Conv2d(1, 1, 1, bias=True)
        self.head = nn.Linear(5, 5)
        self.first.weight.data = torch.tensor([3.0, 4.0]).view(1, 1, 1, 2)
        self.second.weight.data = torch.tensor([12.0]).view(1, 1, 1, 1)


def linear(model: TwoConvolutions, *coefficients: float) -> torch.Tensor:
    """A loss whose gradient with respect to the three numbers is the coefficients."""
    a, b, c = coefficients
    return (model.first.weight.flatten() * torch.tensor([a, b])).sum() + c * model.second.weight.sum()


def test_only_convolution_weights_count():
    model = TwoConvolutions()
    assert [tuple(weight.shape) for weight in convolutions(model)] == [(1, 1, 1, 2), (1, 1, 1, 1)]
    assert flat_weights(model).tolist() == [3.0, 4.0, 12.0]


def test_flat_weights_are_a_copy():
    model = TwoConvolutions()
    before = flat_weights(model)
    model.first.weight.data.zero_()
    assert before.tolist() == [3.0, 4.0, 12.0]


def test_norms_and_cosines_by_hand_for_each_group():
    model = TwoConvolutions()
    loss = Loss(
        {
            "frozen/cross_entropy": linear(model, 4.0, -3.0, 0.0),  # orthogonal to w: 12 - 12
            "adaptive/cross_entropy": linear(model, 3.0, 4.0, 0.0),
            "adaptive/kl": linear(model, 3.0, 4.0, 24.0),  # the group's sum is (6, 8, 24) = 2 w
            "penalty": linear(model, 0.0, 0.0, -5.0),  # cosine -5 * 12 / (5 * 13)
        }
    )
    assert gradient_diagnostics(model, loss) == pytest.approx(
        {
            "gradient_norm/frozen": 5.0,
            "cosine/frozen": 0.0,
            "gradient_norm/adaptive": 26.0,
            "cosine/adaptive": 1.0,
            "gradient_norm/all": 5.0,
            "cosine/all": -12 / 13,
        },
        abs=1e-6,
    )


def test_a_group_that_does_not_reach_a_convolution_has_gradient_zero():
    model = TwoConvolutions()
    found = gradient_diagnostics(model, Loss({"x": model.head.weight.sum()}))
    assert found == {"gradient_norm/all": 0.0, "cosine/all": 0.0}


def test_the_graph_is_kept_and_no_gradient_is_stored():
    model = TwoConvolutions()
    loss = Loss({"a/x": linear(model, 1.0, 2.0, 3.0) ** 2, "b/x": linear(model, 1.0, 0.0, 0.0) ** 2})
    gradient_diagnostics(model, loss)
    assert all(parameter.grad is None for parameter in model.parameters())
    loss.total.backward()
    assert model.first.weight.grad is not None


def test_nothing_is_measured_where_no_convolution_is_trained():
    model = TwoConvolutions()
    for weight in convolutions(model):
        weight.requires_grad_(False)
    assert gradient_diagnostics(model, Loss({"x": model.head.weight.sum()})) == {}


def test_a_model_without_convolutions_has_no_gradients_to_measure_and_no_weights():
    model = nn.Linear(5, 5)
    assert convolutions(model) == []
    assert flat_weights(model).tolist() == []
    assert gradient_diagnostics(model, Loss({"x": model.weight.sum()})) == {}
    assert weight_diagnostics(model, flat_weights(model)) == {"weight_norm": 0.0, "weight_distance": 0.0}
    row = {"loss": 1.0, "weight_norm": 0.0}
    assert with_ratios(row, lr=0.1) == row  # no ratio to a norm of zero


def test_weight_norm_and_distance_by_hand_frozen_weights_included():
    model = TwoConvolutions()
    model.first.weight.requires_grad_(False)
    # |(3, 4, 12)| = 13; the distance from (0, 0, 0) is the same, from (3, 0, 9) it is |(0, 4, 3)| = 5.
    assert weight_diagnostics(model, torch.zeros(3)) == pytest.approx({"weight_norm": 13.0, "weight_distance": 13.0})
    found = weight_diagnostics(model, torch.tensor([3.0, 0.0, 9.0]))
    assert found == pytest.approx({"weight_norm": 13.0, "weight_distance": 5.0})


def test_ratios_by_hand():
    row = {"weight_norm": 4.0, "gradient_norm/frozen": 2.0, "gradient_norm/adaptive": 6.0, "cosine/frozen": 0.5}
    found = with_ratios(row, lr=0.1)
    assert found == pytest.approx(
        {
            **row,
            "gradient_over_weight/frozen": 0.5,
            "relative_step/frozen": 0.05,
            "gradient_over_weight/adaptive": 1.5,
            "relative_step/adaptive": 0.15,
        }
    )
    assert row == {
        "weight_norm": 4.0,
        "gradient_norm/frozen": 2.0,
        "gradient_norm/adaptive": 6.0,
        "cosine/frozen": 0.5,
    }


@pytest.fixture
def two_wings(tiny_model, random_batch):
    """A two-wing network in float64 whose batch norms have an eps that rounds away, a loss on it, and its method."""
    method = TwinsAT(lambda_frozen=1.0, lambda_adaptive=1.0)
    model = method.prepare(tiny_model(lived=True, dtype=torch.float64)).train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-30
    x, y = random_batch(16, dtype=torch.float64)

    def measure() -> dict[str, float]:
        return gradient_diagnostics(model, method.loss(model, x, x, y))

    return model, measure


def test_batch_statistics_make_the_gradient_orthogonal_to_the_weights_and_frozen_ones_do_not(two_wings):
    # Euler: a loss that does not change when w is scaled has w . g = 0. All convolutions here feed a batch norm.
    _, measure = two_wings
    found = measure()
    assert abs(found["cosine/adaptive"]) < 1e-12
    assert abs(found["cosine/frozen"]) > 1e-2
    assert found["gradient_norm/adaptive"] > 1e-3  # orthogonal, and not for want of a gradient


def test_batch_statistics_make_the_gradient_shrink_as_the_weights_grow_and_frozen_ones_do_not(two_wings):
    model, measure = two_wings
    before = measure()
    with torch.no_grad():
        for weight in convolutions(model):
            weight *= 2
    after = measure()
    assert after["gradient_norm/adaptive"] == pytest.approx(before["gradient_norm/adaptive"] / 2, rel=1e-9)
    assert after["gradient_norm/frozen"] != pytest.approx(before["gradient_norm/frozen"] / 2, rel=0.1)


def test_a_plain_network_in_training_mode_has_orthogonal_gradients_and_in_evaluation_mode_not(tiny_model, random_batch):
    model = tiny_model(lived=True, dtype=torch.float64)
    x, y = random_batch(16, dtype=torch.float64)
    training = gradient_diagnostics(model.train(), Standard().loss(model, x, x, y))
    evaluating = gradient_diagnostics(model.eval(), Standard().loss(model, x, x, y))
    # Batch norm's eps of 1e-5 beside variances of order 1 leaves a trace of about that size.
    assert abs(training["cosine/all"]) < 1e-3
    assert abs(evaluating["cosine/all"]) > 1e-2
    assert math.isfinite(training["gradient_norm/all"])


# -- the loss along a perturbation -------------------------------------------------------------------------------------

FGSM = {
    "name": "fgsm",
    "objective": "cross_entropy",
    "steps": 1,
    "step_over_eps": "1",
    "start": "none",
    "target": "exported_model",
}


class TwoWeights(nn.Module):
    """Logits (2 a - b, 0) of images with two pixels a and b."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = x.flatten(1) @ torch.tensor([2.0, -1.0])
        return torch.stack([score, torch.zeros_like(score)], dim=1)


def grey(n: int) -> Images:
    """Images with both pixels at one half, of class 0."""
    return Images(torch.ones(n, 1, 1, 2, dtype=torch.uint8), torch.zeros(n, dtype=torch.int64), levels=2)


def test_the_loss_along_a_perturbation_by_hand():
    """delta is (-eps, +eps), so the score is 0.5 - 3 m eps, and the cross-entropy log(1 + exp(-score))."""
    spec = {"attacks": [FGSM], "multiples": [0, 0.5, 1, 2], "images": 3}
    losses = loss_along(TwoWeights(), grey(3), spec, threat={"norm": "linf", "eps": "1/10"}, seed=0)
    by_hand = {m: math.log1p(math.exp(-(0.5 - 0.3 * m))) for m in (0, 0.5, 1, 2)}
    assert losses == {f"loss_along/fgsm/{m:g}": pytest.approx(loss, rel=1e-6) for m, loss in by_hand.items()}


def test_beyond_the_range_of_pixels_an_image_is_clipped():
    """At twice eps = 0.4 the pixels would be -0.3 and 1.3; they are 0 and 1, and the score is -1."""
    spec = {"attacks": [FGSM], "multiples": [2.0], "images": 1}
    losses = loss_along(TwoWeights(), grey(1), spec, threat={"norm": "linf", "eps": "2/5"}, seed=0)
    assert losses == {"loss_along/fgsm/2": pytest.approx(math.log1p(math.e), rel=1e-6)}


def test_the_loss_is_of_the_first_images_and_of_all_batches(monkeypatch):
    monkeypatch.setattr(diagnostics, "BATCH", 2)
    images = grey(5)
    images.labels[:2], images.labels[4] = 1, 1  # the fifth image is not asked for
    spec = {"attacks": [FGSM], "multiples": [0.0], "images": 4}
    losses = loss_along(TwoWeights(), images, spec, threat={"norm": "linf", "eps": "1/10"}, seed=0)
    mean = (math.log1p(math.exp(0.5)) + math.log1p(math.exp(-0.5))) / 2
    assert losses == {"loss_along/fgsm/0": pytest.approx(mean, rel=1e-6)}


def test_the_traditional_direction_is_made_without_the_prompts_and_its_loss_is_of_the_whole_model():
    torch.manual_seed(0)
    vit = ViT(channels=1, image_size=8, patch_size=4, width=8, depth=1, heads=2)
    backbone = PromptedViT(vit, length=2, blocks=[0])
    backbone.prompts.data.mul_(10)  # of the size of tokens, so that it matters whether they are there
    model = Classifier(Normalise([0.5], [0.5]), backbone, nn.Linear(8, 3)).eval()
    images = Images(torch.randint(0, 17, (6, 1, 8, 8), dtype=torch.uint8), torch.arange(6) % 3, levels=16)
    attacks = [
        {**FGSM, "name": "adaptive"},
        {**FGSM, "name": "traditional", "target": "robustft.models.tunings.prompts:without_prompts"},
    ]
    spec, threat = {"attacks": attacks, "multiples": [0, 1], "images": 6}, {"norm": "linf", "eps": "1/10"}
    losses = loss_along(model, images, spec, threat=threat, seed=0)
    assert losses["loss_along/traditional/0"] == losses["loss_along/adaptive/0"]
    x, y = images.take(slice(0, 6))
    bare = without_prompts(model)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(bare(x), y), x)
    with torch.no_grad():
        moved = (x + 0.1 * gradient.sign()).clamp(0, 1)
        expected = torch.nn.functional.cross_entropy(model(moved), y).item()
    assert losses["loss_along/traditional/1"] == pytest.approx(expected, rel=1e-5)
    assert losses["loss_along/adaptive/1"] != losses["loss_along/traditional/1"]
