from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.errors import ConfigError
from robustft.models.classifier import Classifier, Normalise, build_classifier


def test_normalisation_by_hand_for_each_channel():
    x = torch.tensor([0.3, 0.9, 0.5, 0.5]).view(1, 2, 1, 2)
    # Channel 0: (0.3 - 0.3)/0.4, (0.9 - 0.3)/0.4; channel 1: (0.5 - 0.25)/0.5 twice.
    expected = torch.tensor([0.0, 1.5, 0.5, 0.5]).view(1, 2, 1, 2)
    torch.testing.assert_close(Normalise([0.3, 0.25], [0.4, 0.5])(x), expected)


def test_normalisation_lives_inside_the_model():
    model = Classifier(Normalise([0.3], [0.4]), nn.Flatten(), nn.Identity())
    assert model(torch.full((1, 1, 1, 2), 0.7)).flatten().tolist() == pytest.approx([1.0, 1.0])
    assert model.features(torch.full((1, 1, 1, 2), 0.3)).flatten().tolist() == pytest.approx([0.0, 0.0], abs=1e-6)


def test_normalisation_is_stored_with_the_weights_and_is_not_trained(tiny_model):
    model = tiny_model()
    assert model.state_dict()["normalise.mean"].flatten().tolist() == pytest.approx([0.3])
    assert model.state_dict()["normalise.std"].flatten().tolist() == pytest.approx([0.4])
    assert not [name for name, _ in model.named_parameters() if name.startswith("normalise")]


def test_the_head_sees_the_features(tiny_model, random_batch):
    model, (x, _) = tiny_model(classes=7).eval(), random_batch(3)
    features = model.features(x)
    assert features.shape == (3, 8)
    assert model(x).shape == (3, 7)
    assert torch.equal(model(x), model.head(features))


def test_fresh_weights_are_a_function_of_torchs_seed(tiny_model):
    one, same, other = (tiny_model(seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["head.weight"], other["head.weight"])
    assert not torch.equal(one["backbone.stem.0.weight"], other["backbone.stem.0.weight"])


@pytest.mark.parametrize(
    "normalisation",
    [{"mean": [0.3], "std": [0.4]}, {"mean": [0.3] * 3, "std": [0.4]}, {"mean": [0.3], "std": [0.4] * 3}],
)
def test_a_normalisation_for_another_number_of_channels_is_a_configuration_error(tiny_backbone, normalisation):
    with pytest.raises(ConfigError, match="'tiny' does not fit the images") as error:
        build_classifier({**tiny_backbone, "normalisation": normalisation}, shape=[3, 8, 8], classes=5)
    means, deviations = len(normalisation["mean"]), len(normalisation["std"])
    assert "3 channels" in str(error.value)
    assert f"{means} means, {deviations} standard deviations" in str(error.value)
