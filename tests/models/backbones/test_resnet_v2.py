from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustft.models.backbones.resnet_v2 import PreActivation, ResNetV2, bottleneck
from robustft.models.classifier import build_classifier

RESNET50 = {"width": 64, "blocks": [3, 4, 6, 3], "block": "bottleneck"}
TINY = {"width": 4, "blocks": [1, 1, 1, 1], "block": "basic"}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_resnet50v2_has_exactly_the_published_number_of_parameters():
    # Fact sheet, section 2, derived from the released code: with ten classes, stem and stages 1-3, stage 4.
    with torch.device("meta"):
        backbone = {"implementation": "robustft.models.backbones.resnet_v2:ResNetV2", "parameters": RESNET50}
        backbone["normalisation"] = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
        model = build_classifier(backbone, shape=[3, 32, 32], classes=10)
    assert count(model) == 23_516_874
    assert count(model.backbone.trunk) == 8_533_696
    assert count(model.backbone.stage4) == 14_962_688
    assert (model.backbone.trunk_features, model.backbone.out_features) == (1024, 2048)
    assert model(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    # A patch of 8x8 leaves the trunk as 2x2x1024.
    assert model.backbone.trunk(torch.empty(2, 3, 8, 8, device="meta")).shape == (2, 1024, 2, 2)


def test_everything_is_in_the_trunk_or_in_stage_4():
    names = {name.split(".")[0] for name in ResNetV2(channels=1, **TINY).state_dict()}
    assert names == {"trunk", "stage4"}


@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_images_and_single_patches_of_any_size_pass(kind, size):
    model = ResNetV2(channels=1, width=4, blocks=[1, 1, 1, 1], block=kind)
    out = 4 * 8 * (4 if kind == "bottleneck" else 1)
    assert model.out_features == out
    assert model.trunk_features == out // 2
    features = model(torch.rand(3, 1, size, size))
    assert features.shape == (3, out)
    assert features.isfinite().all()


def test_a_block_by_hand():
    # All weights 1, fresh batch norms in evaluation mode (which divide by sqrt(1 + 1e-5), s below), one channel, 1x1
    # pixels, so that a 3x3 convolution sees its centre alone: f(x) = relu(relu(x) s) s + x.
    convolutions = [nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Conv2d(1, 1, 3, padding=1, bias=False)]
    for convolution in convolutions:
        nn.init.ones_(convolution.weight)
    block = PreActivation(convolutions, stride=1).double().eval()
    s = (1 + 1e-5) ** -0.5
    x = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64).view(3, 1, 1, 1)
    assert block(x).flatten().tolist() == pytest.approx([-2.0, 0.0, 3 * s * s + 3], abs=1e-12)


def test_a_projection_takes_the_activated_input_and_an_identity_the_raw_one():
    torch.manual_seed(0)
    x = torch.randn(2, 4, 4, 4, dtype=torch.float64)
    projecting = bottleneck(4, 2, stride=2).double().eval()
    identity = bottleneck(8, 2, stride=1).double().eval()
    assert isinstance(projecting.shortcut[1], nn.BatchNorm2d)
    assert identity.shortcut is None
    for block in (projecting, identity):
        nn.init.zeros_(block.convolutions[-1].weight)
    active = F.relu(projecting.norms[0](x))
    torch.testing.assert_close(projecting(x), projecting.shortcut(active))
    y = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    assert torch.equal(identity(y), y)


def test_the_stride_is_on_the_3x3_convolution():
    convolutions = bottleneck(8, 4, stride=2).convolutions
    assert [c.stride for c in convolutions] == [(1, 1), (2, 2), (1, 1)]
    assert [c.kernel_size for c in convolutions] == [(1, 1), (3, 3), (1, 1)]


def test_the_stem_is_normalised_and_nothing_follows_the_last_stage():
    model = ResNetV2(channels=1, **TINY)
    assert [type(layer) for layer in model.trunk[0]] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    last = copy.deepcopy(model).eval()
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(last(x), last.stage4(last.trunk(x)).mean(dim=(2, 3)))
    assert (last(x) < 0).any()  # a ReLU would have cut these


def test_a_trunk_needs_exactly_three_stages_and_a_fourth():
    with pytest.raises(ValueError, match="need 4 numbers of blocks, not \\[1, 1, 1\\]"):
        ResNetV2(channels=1, width=4, blocks=[1, 1, 1], block="basic")
