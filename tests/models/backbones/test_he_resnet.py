from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.config.load import load_document
from robustft.files import ROOT
from robustft.models.backbones.he_resnet import Block, HeResNet
from robustft.models.classifier import build_classifier

BACKBONES = load_document(ROOT / "config" / "backbones.yaml", "backbones").values["backbones"]
PUBLISHED = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}
"""Layers and millions of parameters as He et al. print them (CVPR 2016, table 6)."""


def by_hand(n: int) -> int:
    """Weights of 3x3 convolutions, two of each batch norm's channel, and a linear layer of ten classes."""
    stem = 27 * 16 + 2 * 16
    first = 2 * n * (9 * 16 * 16 + 2 * 16)
    wider = [9 * w // 2 * w + (2 * n - 1) * 9 * w * w + 2 * n * 2 * w for w in (32, 64)]
    return stem + first + sum(wider) + 64 * 10 + 10


@pytest.mark.parametrize("layers", PUBLISHED)
def test_layers_and_parameters_are_the_published_ones(layers):
    backbone = {"name": f"he_resnet{layers}", **BACKBONES[f"he_resnet{layers}"]}
    with torch.device("meta"):
        model = build_classifier(backbone, shape=[3, 32, 32], classes=10)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == by_hand(backbone["parameters"]["blocks"])
    assert count / 1e6 == pytest.approx(PUBLISHED[layers], rel=0.02)
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == layers


def test_shortcut_a_takes_every_second_pixel_and_has_no_weights():
    block = Block(2, 4).eval()
    for convolution in (block.conv1, block.conv2):
        nn.init.zeros_(convolution.weight)
    x = torch.arange(1.0, 33.0).view(1, 2, 4, 4)
    # A fresh batch norm maps 0 to 0: what is left is the shortcut, between one channel of zeros on either side.
    channels = block(x)[0]
    assert channels[[0, 3]].abs().max() == 0
    assert channels[1].tolist() == [[1, 3], [9, 11]]
    assert channels[2].tolist() == [[17, 19], [25, 27]]


def test_a_block_of_equal_width_adds_its_input():
    block = Block(2, 2).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1)
    assert block(x).flatten().tolist() == [0.0, 2.0]


def test_sizes_and_features():
    model = HeResNet(channels=3, blocks=1).eval()
    x = model.stem(torch.rand(2, 3, 32, 32))
    shapes = [tuple(x.shape[1:])]
    for block in model.stages:
        x = block(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, model.out_features) == (2, 64)
