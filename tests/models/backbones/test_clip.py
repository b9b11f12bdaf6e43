"""CLIP's image tower: its size, and images of other shapes. Its numbers: tests/models/pretrained."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustft.errors import ConfigError
from robustft.models.backbones.clip import ImageTower
from tests.models.toy_clip import backbone, images, toy_clip


def test_openais_vit_b32_has_its_parameters():
    with torch.device("meta"):
        tower = ImageTower(
            channels=3, image_size=224, patch_size=32, width=768, layers=12, heads=12, embed_dim=512, quick_gelu=True
        )
    # Patches 3 x 32 x 32 x 768, class token 768, 50 positions, two norms and the projection outside of 12 blocks of
    # 12 D^2 weights and 13 D biases and norm weights.
    d = 768
    by_hand = 3 * 32 * 32 * d + d + 50 * d + 4 * d + d * 512 + 12 * (12 * d * d + 13 * d)
    assert sum(parameter.numel() for parameter in tower.parameters()) == by_hand == 87_849_216
    assert any(type(module).__name__ == "QuickGELU" for module in tower.modules())
    assert not any(isinstance(module, nn.GELU) for module in tower.modules())


def test_a_grey_image_fills_all_three_channels():
    torch.manual_seed(0)
    parameters = backbone()["parameters"]
    grey, colour = ImageTower(channels=1, **parameters), ImageTower(channels=3, **parameters)
    colour.load_state_dict(grey.state_dict())
    x = images(dtype=torch.float32)
    torch.testing.assert_close(grey(x), colour(x.repeat(1, 3, 1, 1)), rtol=0, atol=0)
    with pytest.raises(ConfigError, match="grey or colour"):
        ImageTower(channels=2, **parameters)


def test_other_sizes_are_resized_inside_the_model_and_the_gradient_reaches_the_given_pixels():
    model = toy_clip()
    x = images(size=6).requires_grad_()
    model(x).sum().backward()
    assert x.grad.shape == (5, 1, 6, 6)
    assert x.grad.abs().amax(dim=(1, 2, 3)).min() > 0
    # Before or after normalisation is the same: bicubic weights sum to one.
    before = F.interpolate(x, (8, 8), mode="bicubic", align_corners=False)
    torch.testing.assert_close(model(before), model(x), rtol=0, atol=1e-10)


def test_an_image_tower_may_be_oblong():
    tower = ImageTower(channels=1, **{**backbone()["parameters"], "image_size": [4, 12]})
    assert tower(torch.rand(2, 1, 4, 12)).shape == (2, 6)
    assert tower.tower.grid_size == (1, 3)
