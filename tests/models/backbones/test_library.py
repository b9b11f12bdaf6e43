from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.errors import ConfigError
from robustft.models.backbones.library import LibraryBackbone, last_linear


def test_a_network_ends_before_its_last_linear_layer():
    pytest.importorskip("timm")
    backbone = LibraryBackbone(channels=3, arch="timm:resnet18").eval()
    assert backbone.head_name == "fc"
    with torch.no_grad():
        assert backbone(torch.zeros(1, 3, 32, 32)).shape == (1, backbone.out_features)


def test_a_network_without_a_linear_end_is_refused():
    with pytest.raises(ConfigError, match="not linear"):
        last_linear(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(2, 2, 1), nn.Flatten()), "mine:net")
