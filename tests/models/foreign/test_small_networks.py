import pytest
import torch

from robustft.errors import RobustftError
from robustft.models.foreign.small_networks import NAMED, small_network


def weights(network):
    return sum(one.numel() for one in network.parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    # He et al. (CVPR 2016, table 6) print 0.27, 0.46 and 0.85 for 20, 32 and 56 layers, Zagoruyko and Komodakis
    # (BMVC 2016, table 1) 36.5 for WRN-28-10.
    [("ResNet-20", 0.27), ("ResNet-32", 0.46), ("ResNet-56", 0.85), ("WideResNet-28-10", 36.5)],
)
def test_a_network_has_as_many_weights_as_its_paper_prints(name, millions):
    with torch.device("meta"):
        network = small_network(name)()
    assert weights(network) / 1e6 == pytest.approx(millions, abs=0.05 if millions > 1 else 0.005)


@pytest.mark.parametrize("name", [*NAMED, "WideResNet-16-2", "WideResNet-16-2-trades"])
def test_every_layout_gives_a_logit_for_each_class(name):
    network = small_network(name)(classes=7).eval()
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 7)


def test_a_layout_that_is_not_here_and_an_impossible_depth():
    assert small_network("VGG-16") is None
    with pytest.raises(RobustftError, match="6n"):
        small_network("WideResNet-30-10")
