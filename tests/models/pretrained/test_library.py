from __future__ import annotations

import pytest
import torch

from robustft.errors import IntegrityError
from robustft.models.classifier import build_classifier
from robustft.models.pretrained.library import read

BACKBONE = {
    "implementation": "robustft.models.backbones.library:LibraryBackbone",
    "parameters": {"arch": "timm:resnet18"},
    "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
}


@pytest.fixture
def saved(tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("resnet18", num_classes=4).eval()
    torch.save(
        {"state_dict": {f"module.{name}": one for name, one in network.state_dict().items()}}, tmp_path / "a.pth"
    )
    return network, tmp_path / "a.pth"


def test_a_file_of_a_library_gives_the_same_logits(saved):
    network, path = saved
    tensors = read(path, arch="timm:resnet18", head=True)
    model = build_classifier(BACKBONE, shape=[3, 32, 32], classes=4).eval()
    model.load_state_dict({**model.normalise.state_dict(prefix="normalise."), **tensors})
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(x), network((x - 0.5) / 0.5), rtol=0, atol=1e-6)


def test_without_a_head_only_the_backbone_is_read(saved):
    assert all(name.startswith("backbone.network.") for name in read(saved[1], arch="timm:resnet18"))


def test_another_architecture_is_refused_with_the_nearest(saved):
    with pytest.raises(IntegrityError, match="timm:resnet18"):
        read(saved[1], arch="timm:resnet34")
