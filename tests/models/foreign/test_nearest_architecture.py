import torch
from torchvision.models import resnet34

from robustft.models.foreign.nearest_architecture import nearest_architecture


def test_the_architecture_whose_names_and_shapes_agree_is_found():
    with torch.device("meta"):
        state = resnet34(num_classes=7).state_dict()
    name, share = nearest_architecture(state, "torchvision:resnet18")
    assert name == "torchvision:resnet34"
    assert 0.9 < share < 1


def test_nothing_is_named_for_weights_of_nothing_known():
    assert nearest_architecture({"a.b": torch.zeros(3)}, "torchvision:resnet18") is None
