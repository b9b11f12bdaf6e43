from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustft.methods.protocol import Loss
from robustft.methods.standard import Standard
from robustft.methods.twins import TwinsAT
from robustft.train.diagnostics import (
    convolutions,
    flat_weights,
    gradient_diagnostics,
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
