from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robustft.models.backbones.resnet import ResNet
from robustft.models.classifier import Classifier, Normalise
from robustft.speed.optimizations import (
    Optimizable,
    Optimizations,
    apply_optimizations,
    memory_format,
    suits_channels_last,
)

ROOT = Path(__file__).resolve().parents[2]


def network(width: int) -> Classifier:
    backbone = ResNet(channels=3, width=width, blocks=[1, 1, 1])
    return Classifier(Normalise([0.5] * 3, [0.2] * 3), backbone, torch.nn.Linear(backbone.out_features, 4))


@pytest.mark.parametrize(
    ("width", "optimized", "expected"),
    [
        (16, True, torch.channels_last),
        (16, False, torch.contiguous_format),
        (8, True, torch.contiguous_format),  # its first shortcut is a 1x1 convolution of 8 channels with stride 2
    ],
)
def test_the_layout_of_a_network(width, optimized, expected):
    assert memory_format(network(width), Optimizations(channels_last=optimized)) is expected


@pytest.mark.parametrize(
    ("channels", "pixels", "stride", "dtype", "expected"),
    [
        (256, 6, 1, torch.float32, False),
        (256, 12, 2, torch.float32, False),  # the result has 6 x 6 pixels
        (256, 7, 1, torch.float32, True),
        (128, 6, 1, torch.float32, True),
        (256, 6, 1, torch.bfloat16, True),
    ],
)
def test_which_convolutions_suit_channels_last(channels, pixels, stride, dtype, expected):
    convolution = torch.nn.Conv2d(channels, 8, 3, stride=stride, padding=1)
    assert suits_channels_last(convolution, torch.zeros(1, channels, pixels, pixels, dtype=dtype)) is expected


STEPS = """
import torch
from robustft.speed.optimizations import Optimizations, memory_format
from tests.speed.test_optimizations import network
model = network(4)
layout = memory_format(model, Optimizations())
model.to(memory_format=layout)
for _ in range(6):
    model(torch.rand(8, 3, 64, 64).contiguous(memory_format=layout)).square().sum().backward()
"""


def test_a_narrow_network_does_not_overwrite_memory_as_channels_last_strided_convolutions_did():
    result = subprocess.run([sys.executable, "-c", STEPS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-500:]


def test_every_optimizable_module_is_set():
    model = network(8)
    inner = Optimizable()
    model.backbone.add_module("inner", inner)
    apply_optimizations(model, Optimizations(needed_tokens=False))
    assert not model.optimizations.needed_tokens
    assert not inner.optimizations.needed_tokens
    assert Optimizable().optimizations == Optimizations(), "others keep theirs"


def test_an_unknown_optimization_is_an_error():
    with pytest.raises(TypeError, match="needed_token"):
        Optimizations.of({"needed_token": True})
