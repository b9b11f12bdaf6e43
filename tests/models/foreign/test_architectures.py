import pytest
import torch

from robustft.errors import RobustftError
from robustft.models.foreign.architectures import architecture

MINE = """
import torch
def build(num_classes=3): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))
def broken(): raise KeyError("depth")
def text(): return "no model"
"""


@pytest.fixture
def mylab(tmp_path, monkeypatch):
    (tmp_path / "mylab_nets.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "side", "mean"),
    [("timm:resnet18", 224, 0.485), ("torchvision:resnet18", 224, 0.485), ("timm:vit_tiny_patch16_224", 224, 0.5)],
)
def test_a_library_says_how_its_images_are_normalised(name, side, mean):
    found = architecture(name)
    assert (found.side, found.normalisation.mean[0]) == (side, mean)
    with torch.device("meta"):
        assert found.build(classes=5)(torch.zeros(1, 3, side, side, device="meta")).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet81", "did you mean 'resnet18'"),
        ("torchvision:resnet181", "did you mean 'resnet18'"),
        ("robustbench:WideResNet28-10", "did you mean 'WideResNet-28-10'"),
        ("resnet18", "did you mean 'timm:resnet18'"),
        ("tim:resnet18", "did you mean 'timm'"),
        ("mylab_nets:biuld", "did you mean 'build'"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_one(mylab, name, said):
    with pytest.raises(RobustftError, match=said):
        architecture(name)


def test_a_function_of_the_users_gets_the_classes_under_its_own_name(mylab):
    assert architecture("mylab_nets:build").build(classes=5)(torch.zeros(1, 64)).shape == (1, 5)
    with pytest.raises(RobustftError, match="KeyError"):
        architecture("mylab_nets:broken").build()
    with pytest.raises(RobustftError, match="returns no model"):
        architecture("mylab_nets:text").build()
