from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.models.backbones.resnet import BasicBlock, ResNet


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 9, 32])
def test_features_have_one_number_for_each_channel_of_the_last_stage(channels, size):
    model = ResNet(channels=channels, width=4, blocks=[1, 1, 2]).eval()
    assert model.out_features == 16  # 4, 8, 16
    assert model(torch.rand(2, channels, size, size)).shape == (2, 16)


def test_each_stage_after_the_first_halves_the_size_and_doubles_the_width():
    model = ResNet(channels=1, width=4, blocks=[2, 1, 1]).eval()
    x = model.stem(torch.rand(2, 1, 8, 8))
    shapes = [tuple(x.shape[1:])]
    for block in model.stages:
        x = block(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(4, 8, 8), (4, 8, 8), (4, 8, 8), (8, 4, 4), (16, 2, 2)]


def test_parameter_count_by_arithmetic():
    # Stem: conv 1*4*9 = 36, batch norm 2*4 = 8.
    stem = 36 + 8
    # Block 4 -> 4: two convs of 4*4*9 = 144, two batch norms of 8.
    first = 2 * 144 + 2 * 8
    # Block 4 -> 8, stride 2: convs 4*8*9 = 288 and 8*8*9 = 576, shortcut conv 4*8 = 32, three batch norms of 16.
    second = 288 + 576 + 32 + 3 * 16
    model = ResNet(channels=1, width=4, blocks=[1, 1])
    assert sum(parameter.numel() for parameter in model.parameters()) == stem + first + second == 1292


def test_a_shortcut_is_the_identity_exactly_where_the_shapes_allow_it():
    assert isinstance(BasicBlock(4, 4, stride=1).shortcut, nn.Identity)
    assert isinstance(BasicBlock(4, 4, stride=2).shortcut, nn.Sequential)
    assert isinstance(BasicBlock(4, 8, stride=1).shortcut, nn.Sequential)


def test_a_block_with_its_convolutions_at_zero_is_a_relu():
    block = BasicBlock(2, 2, stride=1).eval()
    nn.init.zeros_(block.conv1.weight)
    nn.init.zeros_(block.conv2.weight)
    x = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1)
    # Fresh batch norm in evaluation mode maps 0 to 0, so only the shortcut and the last ReLU are left.
    assert block(x).flatten().tolist() == [0.0, 2.0]


def test_convolutions_have_no_bias_as_batch_norm_follows_each():
    model = ResNet(channels=1, width=4, blocks=[1, 1])
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 6
    assert all(module.bias is None for module in convolutions)
