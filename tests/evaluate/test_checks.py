"""Each check must fire on a model that is built to violate it, and on no sound one."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.threat import ThreatModel
from robustft.evaluate.checks import model_checks, perturbation_checks, worst
from robustft.files import canonical_json

THREAT = ThreatModel("linf", Fraction(1, 10))

MODEL_CHECKS = {
    "modules_in_training_mode",
    "logits_not_finite",
    "pixels_outside",
    "repeat_difference",
    "batch_difference",
    "zero_gradients",
    "eps0_changes",
    "probabilities",
}


def checked(model: nn.Module, batch, *, threat: ThreatModel = THREAT) -> dict[str, float]:
    torch.manual_seed(0)
    return model_checks(model, *batch, threat=threat)


@pytest.fixture
def batch(random_batch):
    return random_batch(12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_sound_model_raises_nothing(norm, tiny_model, batch):
    found = checked(tiny_model(lived=True).eval(), batch, threat=ThreatModel(norm, Fraction(1, 10)))
    assert set(found) == MODEL_CHECKS
    assert found.pop("batch_difference") < 1e-5  # float32 sums may be taken in another order
    assert set(found.values()) == {0.0}
    assert all(isinstance(value, float) for value in found.values())


def test_dropout_left_in_training_mode_shows_as_a_difference_between_two_passes(tiny_model, batch):
    model = tiny_model().eval()
    model.head = nn.Sequential(nn.Dropout(0.5), model.head).train()
    found = checked(model, batch)
    assert found["repeat_difference"] > 0.01
    assert found["modules_in_training_mode"] == 3  # the Sequential, the Dropout, the Linear
    assert found["eps0_changes"] > 0  # a random model changes its mind without being attacked


def test_batch_norm_left_in_training_mode_shows_as_a_difference_between_alone_and_in_the_batch(tiny_model, batch):
    model = tiny_model(lived=True).eval()
    model.backbone.stem[1].train()
    found = checked(model, batch)
    assert found["batch_difference"] > 0.01
    assert found["modules_in_training_mode"] == 1
    assert found["repeat_difference"] == 0.0


class Ending(nn.Module):
    """A sound model and something after it."""

    def __init__(self, model: nn.Module, ending) -> None:
        super().__init__()
        self.model, self.ending = model, ending

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ending(self.model(x))


def test_softmax_outputs_are_recognised(tiny_model, batch):
    model = tiny_model(lived=True).eval()
    assert checked(Ending(model, lambda z: z.softmax(1)).eval(), batch)["probabilities"] == 1.0
    # Neither positive logits nor logits that sum to one are probabilities.
    assert checked(Ending(model, lambda z: z.exp()).eval(), batch)["probabilities"] == 0.0
    assert checked(Ending(model, lambda z: z - z.mean(1, keepdim=True) + 0.2).eval(), batch)["probabilities"] == 0.0


def test_a_model_without_gradient_is_recognised(tiny_model, batch):
    rounded = Ending(tiny_model(lived=True).eval(), lambda z: z + (1000 * z).round() - 1000 * z).eval()
    # d/dz (z + round(1000 z) - 1000 z) = -999, so this one has a gradient; rounding alone has none.
    assert checked(rounded, batch)["zero_gradients"] == 0.0
    shattered = Ending(tiny_model(lived=True).eval(), lambda z: (10 * z).round()).eval()
    assert checked(shattered, batch)["zero_gradients"] == 1.0


def test_the_share_of_images_without_gradient_is_reported(tiny_model, random_batch):
    x, y = random_batch(12)
    x[:3] = 0.0

    class Masked(Ending):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            alive = (images.detach().flatten(1).amax(1) > 0)[:, None].float()
            return self.model(images) * alive

    assert checked(Masked(tiny_model(lived=True).eval(), None).eval(), (x, y))["zero_gradients"] == 3 / 12


@pytest.mark.parametrize(("value", "outside"), [(1.25, 0.25), (-0.5, 0.5)])
def test_an_image_outside_the_range_is_measured(value, outside, tiny_model, random_batch):
    x, y = random_batch(12)
    x[5, 0, 2, 2] = value
    assert checked(tiny_model(lived=True).eval(), (x, y))["pixels_outside"] == pytest.approx(outside)


def test_checking_changes_neither_weights_nor_gradients_nor_images(tiny_model, batch):
    model = tiny_model(lived=True).eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    images = batch[0].clone()
    checked(model, batch)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(batch[0], images)
    assert not batch[0].requires_grad


def test_a_batch_of_one_can_be_checked(tiny_model, random_batch):
    assert checked(tiny_model(lived=True).eval(), random_batch(1))["batch_difference"] == 0.0


def greys(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


class Threshold(nn.Module):
    """One pixel v -> logits (1/2 - v, v - 1/2)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = x.flatten(1)
        return torch.cat([0.5 - v, v - 0.5], dim=1)


def perturbed(x_adv: torch.Tensor, *, prediction: list[int], threat: ThreatModel = THREAT) -> dict[str, float]:
    x = greys(0.25, 0.75)
    return perturbation_checks(Threshold(), x_adv, x, torch.tensor(prediction), threat=threat)


def test_sound_adversarial_images_raise_nothing():
    assert perturbed(greys(0.3, 0.7), prediction=[0, 1]) == {
        "over_eps": 0.0,
        "adversarial_pixels_outside": 0.0,
        "not_a_number": 0.0,
        "rescored_differently": 0.0,
    }


def test_a_perturbation_beyond_eps_is_measured():
    # |0.45 - 0.25| = 0.2, which is 0.1 beyond eps.
    assert perturbed(greys(0.45, 0.75), prediction=[0, 1])["over_eps"] == pytest.approx(0.1)


def test_a_perturbation_is_measured_in_the_norm_of_the_threat_model():
    x, x_adv = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0.58, 0.44]).view(1, 1, 1, 2)

    def found(norm: str) -> float:
        threat = ThreatModel(norm, Fraction(9, 100))
        return perturbation_checks(lambda z: z.flatten(1), x_adv, x, torch.tensor([0]), threat=threat)["over_eps"]

    assert found("linf") == 0.0  # 0.08
    assert found("l2") == pytest.approx(0.01, abs=1e-6)  # |(0.08, -0.06)| = 0.1


@pytest.mark.parametrize(("x_adv", "outside"), [((-0.05, 0.75), 0.05), ((0.25, 1.125), 0.125)])
def test_an_adversarial_pixel_outside_the_range_is_measured(x_adv, outside):
    found = perturbed(greys(*x_adv), prediction=[0, 1])
    assert found["adversarial_pixels_outside"] == pytest.approx(outside)


def test_a_prediction_that_does_not_repeat_is_counted():
    assert perturbed(greys(0.3, 0.7), prediction=[1, 1])["rescored_differently"] == 1.0
    assert perturbed(greys(0.3, 0.7), prediction=[1, 0])["rescored_differently"] == 2.0


def test_pixels_that_are_no_number_are_counted_and_can_be_stored():
    found = perturbed(greys(math.nan, 0.7), prediction=[0, 1])
    assert found["not_a_number"] == 1.0
    # What is found goes into the JSON of a piece and of the ledger, which holds no NaN: the alarm must get there.
    assert canonical_json(found)
    assert worst({}, found) == worst(found, {}) == found


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_no_number_raise_an_alarm_that_can_be_stored(value, tiny_model, batch):
    broken = Ending(tiny_model(lived=True).eval(), lambda z: torch.cat([z[:, :4], z[:, 4:] * 0 + value], 1)).eval()
    found = checked(broken, batch)
    assert found["logits_not_finite"] == pytest.approx(1 / 5)  # one class of five
    assert canonical_json(found)


def test_the_worst_of_two_shards_is_the_larger_value_of_each_check():
    one, two = {"over_eps": 0.5, "not_a_number": 0.0}, {"over_eps": 0.25, "rescored_differently": 2.0}
    expected = {"over_eps": 0.5, "not_a_number": 0.0, "rescored_differently": 2.0}
    assert worst(one, two) == worst(two, one) == expected
    assert worst({}, one) == one
    assert one == {"over_eps": 0.5, "not_a_number": 0.0}


def test_a_rounding_error_of_a_large_radius_is_no_alarm_and_a_real_excess_is():
    """An L1 radius of 12 on 3,072 pixels was flagged for four millionths."""
    threat = ThreatModel("l1", Fraction(12))
    x = torch.zeros(1, 1, 1, 12)

    def over(excess):
        x_adv = torch.full_like(x, 1.0)
        x_adv[..., 0] += excess
        found = perturbation_checks(lambda z: z.flatten(1), x_adv, x, torch.zeros(1), threat=threat)
        return found["over_eps"]

    assert over(4e-6) < 1e-6
    assert over(1e-3) == pytest.approx(1e-3 / 12, rel=0.01)
