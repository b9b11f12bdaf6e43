import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

from robustft.errors import IntegrityError, RobustftError
from robustft.models.checkpoint import save_checkpoint
from robustft.models.foreign.load import first_channels, load_model, load_module

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return resnet18(num_classes=7).eval()


def test_a_state_dict_of_torchvision_gives_the_networks_own_logits(network, tmp_path):
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "my.pt")
    loaded = load_model(tmp_path / "my.pt", arch="torchvision:resnet18")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        assert torch.allclose(loaded.model(IMAGES), network((IMAGES - mean) / std), atol=1e-5)
    assert loaded.side == 224
    assert any("module." in note for note in loaded.notes)
    assert list(loaded.files) == [str(tmp_path / "my.pt")]


def test_timm_reads_the_same_file_with_another_number_of_channels_too(tmp_path):
    import timm

    grey = timm.create_model("resnet18", num_classes=4, in_chans=1).state_dict()
    save_file(grey, tmp_path / "grey.safetensors")
    loaded = load_model(tmp_path / "grey.safetensors", arch="timm:resnet18", normalisation="mnist")
    assert loaded.channels == 1
    assert loaded.model(torch.rand(1, 1, 32, 32)).shape == (1, 4)


def test_a_wrong_architecture_names_the_keys_and_the_nearest_one(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "my.pt")
    with pytest.raises(IntegrityError, match=r"(?s)do not fit torchvision:resnet34.*missing.*torchvision:resnet18"):
        load_model(tmp_path / "my.pt", arch="torchvision:resnet34")
    torch.save({**network.state_dict(), "gate.weight": torch.rand(3, 3)}, tmp_path / "my.pt")
    with pytest.raises(IntegrityError, match=r"1 unknown: gate\.weight"):
        load_model(tmp_path / "my.pt", arch="torchvision:resnet18")


def test_a_normalisation_that_nobody_tells_is_not_guessed():
    from pathlib import Path

    import pyautoattack

    file = Path(pyautoattack.__file__).parent / "examples" / "model_test.pt"
    with pytest.raises(RobustftError, match="nobody says how images are normalised"):
        load_model(file, arch="robustbench:ResNet-18")
    loaded = load_model(file, arch="robustbench:ResNet-18", normalisation="none")
    assert loaded.model(IMAGES).shape == (2, 10)


def test_a_checkpoint_of_this_project_needs_no_architecture(tiny_model, tiny_backbone, tmp_path):
    model = tiny_model(lived=True).eval()
    save_checkpoint(
        tmp_path / "a.safetensors", model, about={"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5}
    )
    loaded = load_model(tmp_path / "a.safetensors")
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(loaded.model(x), model(x))
    assert (loaded.normalisation.mean, loaded.channels) == (pytest.approx((0.3,)), 1)


def test_weights_without_an_architecture_and_an_architecture_without_weights(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "my.pt")
    with pytest.raises(RobustftError, match="--arch"):
        load_model(tmp_path / "my.pt")
    with pytest.raises(RobustftError, match="without weights"):
        load_model("torchvision:resnet18")
    with pytest.raises(RobustftError, match="no such file"):
        load_model(tmp_path / "my2.pt")


def test_a_module_stays_as_it_is_unless_a_normalisation_is_asked_for():
    module = nn.Sequential(nn.Flatten(), nn.Linear(3072, 4))
    assert torch.equal(load_module(module).model(IMAGES), module(IMAGES))
    halved = load_module(module, normalisation="half").model(IMAGES)
    assert torch.allclose(halved, module((IMAGES - 0.5) / 0.5), atol=1e-5)
    assert first_channels(module) is None
