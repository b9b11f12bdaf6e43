from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from robustft.models.backbones.imagenet_resnet import ImageNetResNet
from robustft.models.classifier import build_classifier
from robustft.models.two_wing_batch_norm import TwoWingBatchNorm2d, to_adaptive_wing, to_two_wings, using

TINY = {"blocks": [1, 1, 1, 1], "block": "basic"}
RESNET50 = {"blocks": [3, 4, 6, 3], "block": "bottleneck"}
RESNET18 = {"blocks": [2, 2, 2, 2], "block": "basic"}


@pytest.mark.parametrize(
    ("parameters", "theirs", "total"),
    [(RESNET50, "resnet50", 25_557_032), (RESNET18, "resnet18", 11_689_512)],
)
def test_names_shapes_and_count_are_torchvisions(parameters, theirs, total):
    with torch.device("meta"):
        ours, reference = ImageNetResNet(channels=3, **parameters), getattr(torchvision.models, theirs)()
    expected = {k: v.shape for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == expected
    weights = sum(parameter.numel() for parameter in ours.parameters())
    assert weights + 1000 * ours.out_features + 1000 == total


@pytest.mark.parametrize(
    ("parameters", "theirs"),
    [
        (TINY, (torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])),
        ({"blocks": [2, 1, 1, 1], "block": "bottleneck"}, (torchvision.models.resnet.Bottleneck, [2, 1, 1, 1])),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_features_are_torchvisions(parameters, theirs, training):
    torch.manual_seed(0)
    ours, reference = ImageNetResNet(channels=3, **parameters).double(), torchvision.models.ResNet(*theirs).double()
    reference.fc = nn.Identity()
    reference.load_state_dict(ours.state_dict())
    x = torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(ours.train(training)(x), reference.train(training)(x), rtol=0, atol=1e-12)


def test_a_fresh_network_starts_as_torchvisions_with_every_block_at_work():
    norms = [block.bn2 for block in ImageNetResNet(channels=3, **TINY).layer3]
    assert all((norm.weight == 1).all() for norm in norms)  # timm's own start has zeros here


def test_smaller_images_are_enlarged_by_repeating_pixels_inside_the_model():
    torch.manual_seed(0)
    enlarging = ImageNetResNet(channels=3, **TINY, upsample=64).double().eval()
    plain = ImageNetResNet(channels=3, **TINY).double().eval()
    plain.load_state_dict(enlarging.state_dict())
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    twice = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.equal(enlarging(x), plain(twice))
    assert torch.equal(enlarging(twice), plain(twice))  # large enough as it is
    assert not torch.allclose(plain(x), plain(twice))
    x.requires_grad_()
    enlarging(x).sum().backward()
    assert x.grad.shape == (2, 3, 32, 32)


def test_32_pixels_become_224_by_sevens_and_224_stay():
    # TWINS on CIFAR: each pixel is a square of 7 x 7.
    x = torch.arange(32.0).view(1, 1, 1, 32).expand(1, 1, 32, 32)
    assert F.interpolate(x, size=(224, 224))[0, 0, 0].tolist() == [float(column // 7) for column in range(224)]


def test_it_grows_two_wings_and_loses_them_again():
    torch.manual_seed(0)
    backbone = {
        "implementation": "robustft.models.backbones.imagenet_resnet:ImageNetResNet",
        "parameters": TINY,
        "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    model = build_classifier(backbone, shape=[3, 32, 32], classes=5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
    names, norms = list(model.state_dict()), sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = model.eval()(x)
    wings = to_two_wings(model).eval()
    # torchvision's ResNet-10: the stem, two in each of four blocks, three shortcuts; timm has no other kind of norm.
    assert sum(isinstance(m, TwoWingBatchNorm2d) for m in wings.modules()) == norms == 12
    assert torch.equal(wings(x), expected)
    with using(wings.train(), "both"):
        wings(x).sum().backward()
    layers = [m for m in wings.modules() if isinstance(m, TwoWingBatchNorm2d)]
    assert all(layer.frozen.weight.grad is not None and layer.adaptive.weight.grad is not None for layer in layers)
    assert not torch.equal(layers[0].frozen.running_mean, layers[0].adaptive.running_mean)
    assert list(to_adaptive_wing(wings).state_dict()) == names
