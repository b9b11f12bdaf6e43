from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from robustft.errors import RobustftError
from robustft.export import hub
from robustft.models.checkpoint import save_checkpoint
from robustft.models.classifier import build_classifier


@pytest.fixture(params=["timm:resnet18", "torchvision:resnet18"])
def exported(request, tmp_path):
    pytest.importorskip(request.param.split(":")[0])
    backbone = {
        "name": "own",
        "implementation": "robustft.models.backbones.library:LibraryBackbone",
        "parameters": {"arch": request.param},
        "normalisation": {"mean": [0.5] * 3, "std": [0.25] * 3},
    }
    torch.manual_seed(0)
    model = build_classifier(backbone, shape=[3, 32, 32], classes=4).eval()
    about = {"backbone": backbone, "shape": [3, 32, 32], "classes": 4, "prompts": None, "tuning": None}
    save_checkpoint(tmp_path / "checkpoint.safetensors", model, about=about)
    hub.write_model(tmp_path / "checkpoint.safetensors", tmp_path / "hub", title="mine", standing="Audited.")
    return request.param, model, tmp_path / "hub"


def test_its_own_library_loads_it_to_the_same_logits(exported):
    arch, model, folder = exported
    config = json.loads((folder / "config.json").read_text())
    if arch.startswith("timm"):
        import timm

        network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    else:
        import torchvision

        network = torchvision.models.get_model(config["architecture"], num_classes=config["num_classes"])
        network.load_state_dict(load_file(folder / "model.safetensors"))
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()((x - 0.5) / 0.25), model(x), rtol=0, atol=1e-6)
    assert config["pretrained_cfg"]["mean"] == [0.5] * 3


def test_a_network_of_no_library_is_not_promised(monkeypatch, tmp_path):
    monkeypatch.setattr(hub, "audited", lambda plan, **_: SimpleNamespace(meaning=""))
    step = SimpleNamespace(spec={"backbone": {"parameters": {"width": 8}}})
    run = SimpleNamespace(id="a/b/c/d/seed0", trained=True, steps=(step,), step=step)
    plan = SimpleNamespace(runs=[run], config=SimpleNamespace(folder=tmp_path))
    with pytest.raises(RobustftError, match="no trained network is of a library"):
        hub.export_hub(plan, tmp_path / "hub")
