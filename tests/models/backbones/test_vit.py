from __future__ import annotations

import math

import pytest
import timm
import torch
import torch.nn.functional as F

from robustft.models.backbones.vit import Head, ViT
from robustft.speed.optimizations import Optimizations, apply_optimizations
from tests.models.toy_vit import full_size, images, toy_vit


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("size", "image", "patch", "classes", "total"),
    [
        ((768, 12, 12), 32, 4, 10, 85_152_010),
        ((768, 12, 12), 32, 4, 100, 85_221_220),
        ((768, 12, 12), 32, 16, 10, 85_658_890),
        ((768, 12, 12), 224, 16, 10, 85_806_346),
        ((1024, 24, 16), 32, 4, 10, 302_439_434),
    ],
)
def test_published_architectures_have_their_number_of_weights(size, image, patch, classes, total):
    width, depth, heads = size
    model = full_size(width=width, depth=depth, heads=heads, image=image, patch=patch, classes=classes)
    assert count(model) == total


def test_the_small_vit_of_adapts_old_timm_has_its_number_of_weights():
    # timm 0.5.4's "small": width 768, depth 8, 8 heads, feed-forward ratio 3, no bias of q, k and v; 7690 in the head.
    with torch.device("meta"):
        body = ViT(channels=3, image_size=32, patch_size=4, width=768, depth=8, heads=8, mlp_ratio=3.0, qkv_bias=False)
    assert count(body) + 7_690 == 47_338_762


def test_timms_weights_load_by_name():
    with torch.device("meta"):
        theirs = timm.create_model("vit_base_patch16_224", num_classes=0)
    ours = full_size(width=768, depth=12, heads=12, image=224, patch=16).backbone
    shapes = {name: tuple(tensor.shape) for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}


def test_features_are_the_class_token_after_blocks_and_norm():
    vit, x = toy_vit().backbone, images()
    apply_optimizations(vit, Optimizations(needed_tokens=False))
    tokens = vit.embed(x)
    assert tokens.shape == (6, 17, 8)  # 4 x 4 patches and the class token
    for block in vit.blocks:
        tokens = block(tokens)
    assert torch.equal(vit(x), vit.norm(tokens)[:, 0])
    assert vit.out_features == 8


def test_with_blocks_that_add_nothing_the_features_are_the_normalised_class_token():
    vit = toy_vit().backbone
    with torch.no_grad():
        for block in vit.blocks:
            for layer in (block.attn.proj, block.mlp.fc2):
                layer.weight.zero_()
                layer.bias.zero_()
        vit.norm.weight.fill_(1.0)
        vit.norm.bias.zero_()
        vit.cls_token.copy_(torch.arange(8.0))
        vit.pos_embed.zero_()
        vit.pos_embed[0, 0] = 1.0
    # 1..8: mean 4.5, variance 5.25, and timm's 1e-6 inside the root.
    expected = (torch.arange(1.0, 9.0, dtype=torch.float64) - 4.5) / (5.25 + 1e-6) ** 0.5
    torch.testing.assert_close(vit(images(2)), expected.expand(2, 8), rtol=0, atol=1e-12)


def test_a_fresh_head_guesses_instead_of_being_loudly_wrong():
    """From torch's own start the loss of some seeds was several times that of guessing, and training ended there."""
    torch.manual_seed(0)
    head = Head(32, classes=5)
    assert 0.015 < head.weight.std().item() < 0.025
    assert not head.bias.any()
    loss = F.cross_entropy(head(torch.randn(256, 32)), torch.arange(256) % 5).item()
    assert loss == pytest.approx(math.log(5), abs=0.05)
