import pytest
import torch
from torch import nn

from robustft.assess.images import find_images
from robustft.assess.subject import fitted, model_probes, state_digest
from robustft.errors import RobustftError
from robustft.evaluate.probes import WithGradient
from robustft.models.foreign.load import load_module
from tests.assess.conftest import arrays, network


def fit(module: nn.Module, data=None):
    images = find_images(data or arrays(), split=None, images=None, log=print)
    return fitted(load_module(module), images, torch.device("cpu"))


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(63, 5)), "does not take these images"),
        (nn.Flatten(0), "must return logits"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), "labels from 0 to 2"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(module, said):
    with pytest.raises(RobustftError, match=said):
        fit(module)


def test_weights_identify_a_model():
    first, other = network(), network()
    assert state_digest(first) == state_digest(other)
    other[1].bias.data[0] += 1
    assert state_digest(first) != state_digest(other)


def test_a_model_without_gradients_gets_zero_ones():
    class Detached(nn.Sequential):
        def forward(self, x):
            return super().forward(x).detach()

    assert isinstance(fit(Detached(nn.Flatten(), nn.Linear(64, 5))).model, WithGradient)


def test_a_better_normalisation_is_named():
    module = network()
    images, _ = arrays(200)
    labels = module((torch.tensor(images) - 0.5) / 0.5).argmax(1).numpy()
    labels[:5] = range(5)
    values = model_probes(fit(module, (images, labels)), torch.zeros(0, 1, 8, 8))
    assert values["better_normalisation_name"] == "half"
    assert values["better_normalisation"] > 0.02
    assert model_probes(fit(module), torch.zeros(0, 1, 8, 8))["better_normalisation"] == 0
