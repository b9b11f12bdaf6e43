"""The optimization `needed_tokens`: less work, the same numbers. Tolerances are of float64."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from open_clip.transformer import VisionTransformer as ClipTower
from timm.models.vision_transformer import Block, VisionTransformer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from robustft.models.backbones import clip, vit
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.tunings.hypernetwork import HyperLora
from robustft.models.tunings.lora import FullLora, Lora
from robustft.models.tunings.prompts import PromptTuning
from robustft.models.tunings.zero_shot import ZeroShot
from robustft.speed.optimizations import Optimizations, apply_optimizations
from robustft.speed.tokens import KEYS_AND_VALUES, QUERIES, applied, in_heads, one, patches, thirds
from tests.models.toy_clip import NAMES
from tests.models.toy_clip import backbone as clip_backbone
from tests.models.toy_vit import BACKBONE, CLASSES, images, toy_vit

OFF = Optimizations(needed_tokens=False)
CLOSE = {"rtol": 1e-10, "atol": 1e-11}


def lively(model: nn.Module) -> nn.Module:
    """Move all trained weights: LoRA starts as zero, and prompts would be too small to matter."""
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype))
    return model


def deeper(depth: int, **changes) -> Classifier:
    spec = {**BACKBONE, "parameters": {**BACKBONE["parameters"], "depth": depth, **changes}}
    torch.manual_seed(2)
    return build_classifier(spec, shape=[1, 8, 8], classes=CLASSES).double()


def prompts(depth, *, blocks=4) -> nn.Module:
    return PromptTuning(length=3, depth=depth, attack="adaptive").prepare(deeper(blocks))


def clip_of(channels: int, **changes) -> nn.Module:
    spec = clip_backbone(layers=2, **changes)
    spec["normalisation"] = {"mean": [0.3] * channels, "std": [0.4] * channels}
    torch.manual_seed(0)
    texts = [f"a {name}" for name in NAMES[:CLASSES]]
    return ZeroShot().prepare(build_classifier(spec, shape=[channels, 8, 8], classes=CLASSES, prompts=texts).double())


MODELS = {
    "plain": toy_vit,
    "no bias of queries, keys and values": partial(deeper, 2, qkv_bias=False),
    "one block": partial(deeper, 1),
    "LoRA of all sites": lambda: Lora(rank=2).prepare(toy_vit()),
    "LoRA of two sites": lambda: Lora(rank=2, sites=["q", "fc2"]).prepare(toy_vit()),
    "LoRA after a norm": lambda: FullLora(rank=2).prepare(toy_vit()),
    "weights replaced in functional_call": lambda: HyperLora(defences=["at"], rank=2).prepare(toy_vit()),
    "prompts of the first block": partial(prompts, 1),
    "prompts of all blocks": partial(prompts, "all"),
    "prompts with a gap": partial(prompts, [0, 2]),
    "prompts of later blocks": partial(prompts, [1, 2]),
    "prompts of the last block": partial(prompts, [3]),
    "prompts of a network of one block": partial(prompts, 1, blocks=1),
    "CLIP, grey": partial(clip_of, 1),
    "CLIP, colour": partial(clip_of, 3),
    "CLIP, OpenAI's activation": partial(clip_of, 3, quick_gelu=True),
    "CLIP, resized": partial(clip_of, 1, image_size=12),
    "CLIP, one head": partial(clip_of, 1, heads=1),
}


def numbers(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor | None]:
    """Logits, and the gradients of a curved loss by images and by everything that is trained."""
    model.zero_grad()
    x = x.clone().requires_grad_()
    logits = model(x)
    logits.square().sum().backward()
    return {"logits": logits.detach(), "images": x.grad, **{name: p.grad for name, p in model.named_parameters()}}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_all_gradients_are_the_same_with_the_optimization_on_and_off(name, training):
    model = lively(MODELS[name]()).train(training)
    channels = model.normalise.mean.shape[1]
    x = images().expand(-1, channels, -1, -1) * torch.tensor([1.0, 0.7, 0.4])[:channels].view(1, -1, 1, 1)
    on = numbers(model, x)
    other = copy.deepcopy(model)
    apply_optimizations(other, OFF)
    off = numbers(other, x)
    assert {key for key, value in on.items() if value is None} == {key for key, value in off.items() if value is None}
    torch.testing.assert_close(on, off, **CLOSE)
    assert off["images"].abs().min() > 0
    with torch.no_grad():
        torch.testing.assert_close(model(x), off["logits"], **CLOSE)


def test_the_attacks_weights_of_lora_are_the_same_too():
    tuning = Lora(rank=2)
    model = lively(tuning.prepare(toy_vit()))
    with tuning.attacked(model), torch.no_grad():
        on = model(images())
        apply_optimizations(model, OFF)
        torch.testing.assert_close(model(images()), on, **CLOSE)


# -- off -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_short_way(monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the short way was taken")

    for module in (vit, clip):
        monkeypatch.setattr(module, "apply_block", fail)
        monkeypatch.setattr(module, "patches", fail)


@pytest.mark.usefixtures("no_short_way")
def test_switched_off_a_vit_is_timms_own_forward_bit_for_bit():
    backbone = deeper(2).backbone
    with pytest.raises(AssertionError, match="short way"):
        backbone(images())
    apply_optimizations(backbone, OFF)
    theirs = VisionTransformer(
        img_size=8, patch_size=2, in_chans=1, num_classes=0, embed_dim=8, depth=2, num_heads=2
    ).double()
    theirs.load_state_dict(backbone.state_dict())
    assert torch.equal(backbone(images()), theirs(images()))


@pytest.mark.usefixtures("no_short_way")
def test_switched_off_clip_is_open_clips_own_forward_bit_for_bit():
    tower = clip_of(1).backbone
    with pytest.raises(AssertionError, match="short way"):
        tower(images())
    apply_optimizations(tower, OFF)
    theirs = ClipTower(image_size=8, patch_size=4, width=8, layers=2, heads=2, mlp_ratio=2.0, output_dim=6).double()
    theirs.load_state_dict(tower.tower.state_dict())
    assert torch.equal(tower(images()), theirs(images().expand(-1, 3, -1, -1)))


def test_a_mask_goes_to_timm():
    backbone, mask = deeper(2).backbone, torch.ones(17, 17, dtype=torch.bool).tril()
    masked = backbone(images(), attn_mask=mask)
    theirs = VisionTransformer.forward(backbone, images(), attn_mask=mask)
    assert torch.equal(masked, theirs)
    assert not torch.allclose(masked, backbone(images()), atol=1e-6)


HOOKED = [
    "patch_embed",
    "patch_embed.proj",
    "blocks.0",
    "blocks.1",
    "blocks.1.attn",
    "blocks.1.attn.qkv",
    "blocks.1.mlp",
]
CLIP_HOOKED = ["tower.conv1", "tower.transformer.resblocks.1", "tower.transformer.resblocks.0.attn"]


@pytest.mark.parametrize("model", [toy_vit, partial(prompts, "all")])
@pytest.mark.parametrize("place", HOOKED)
def test_hooks_of_skipped_modules_were_passed_by_and_attention_dropping_attacks_dropped_nothing(model, place):
    backbone = lively(model()).backbone
    _check_hook(backbone, getattr(backbone, "vit", backbone).get_submodule(place), images())


@pytest.mark.parametrize("place", CLIP_HOOKED)
def test_hooks_in_clips_tower_act_too(place):
    tower = clip_of(1).backbone
    _check_hook(tower, tower.get_submodule(place), images())


def _check_hook(backbone: nn.Module, module: nn.Module, x: torch.Tensor) -> None:
    """A hook that turns a module's output round acts as it does on the libraries' own way."""
    plain = backbone(x)

    def turned(_: nn.Module, __: object, made: Any) -> Any:
        return (-made[0], *made[1:]) if isinstance(made, tuple) else -made

    hook = module.register_forward_hook(turned)
    on = backbone(x)
    apply_optimizations(backbone, OFF)
    torch.testing.assert_close(on, backbone(x), **CLOSE)
    assert not torch.allclose(on, plain, atol=1e-4)
    hook.remove()


# -- work ----------------------------------------------------------------------------------------------------------


def flops(model: nn.Module, x: torch.Tensor, *, optimizations: Optimizations) -> int:
    apply_optimizations(model, optimizations)
    with FlopCounterMode(display=False) as counter:
        model(x)
    return int(counter.get_total_flops())


def test_the_last_block_computes_only_the_class_token():
    # 17 tokens of width 8, multiply-add = 2: of 16 of them no query (D^2), projection (D^2) and feed-forward (8 D^2),
    # and no products of the query with keys and of its weights with values (T D each).
    model, x, d, tokens = toy_vit().to("meta"), torch.empty(6, 1, 8, 8, device="meta"), 8, 17
    saved = 2 * 6 * (tokens - 1) * (10 * d * d + 2 * tokens * d)
    assert flops(model, x, optimizations=OFF) - flops(model, x, optimizations=Optimizations()) == saved


def test_prompts_that_are_replaced_have_keys_and_values_once():
    # Three blocks, each with 3 prompts: 12 D^2 of each prompt of each image become 2 D^2 of each prompt, and its query
    # goes, which met 20 keys. The class token's own saving in the last block is of 16 other tokens, with 20 keys.
    x, d, n, length, keys = torch.empty(6, 1, 8, 8, device="meta"), 8, 6, 3, 20
    model = prompts("all", blocks=3).to("meta")
    of_prompts = 3 * length * (n * (12 * d * d + 2 * keys * d) - 2 * d * d)
    of_others = n * 16 * (10 * d * d + 2 * keys * d)
    assert flops(model, x, optimizations=OFF) - flops(model, x, optimizations=Optimizations()) == 2 * (
        of_prompts + of_others
    )


def test_prompts_that_travel_are_computed_in_full():
    # Prompts of the first of three blocks: only the last block is cut short, by 19 of its 20 tokens.
    x, d = torch.empty(6, 1, 8, 8, device="meta"), 8
    model = prompts(1, blocks=3).to("meta")
    saved = 2 * 6 * 19 * (10 * d * d + 2 * 20 * d)
    assert flops(model, x, optimizations=OFF) - flops(model, x, optimizations=Optimizations()) == saved


def test_clips_last_block_computes_only_the_class_token():
    # 5 tokens of width 8 and a feed-forward part of twice the width: 1 + 1 + 4 D^2 of each of 4 tokens.
    model, x, d, tokens = clip_of(1).to("meta"), torch.empty(6, 1, 8, 8, device="meta"), 8, 5
    saved = 2 * 6 * (tokens - 1) * (6 * d * d + 2 * tokens * d)
    assert flops(model, x, optimizations=OFF) - flops(model, x, optimizations=Optimizations()) == saved


# -- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [torch.contiguous_format, torch.channels_last])
def test_patches_are_the_convolutions_of_any_shape_and_layout(stored):
    torch.manual_seed(0)
    kernel = nn.Conv2d(3, 5, kernel_size=(2, 4), stride=(2, 4)).double().to(memory_format=stored)
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64).to(memory_format=stored)
    torch.testing.assert_close(patches(x, kernel), kernel(x).flatten(2).transpose(1, 2), **CLOSE)


def test_patches_by_hand():
    # A kernel of ones sums each 2 x 2 patch of 0..15: 0+1+4+5, 2+3+6+7, 8+9+12+13, 10+11+14+15.
    kernel = nn.Conv2d(1, 1, kernel_size=2, stride=2, bias=False)
    nn.init.ones_(kernel.weight)
    assert patches(torch.arange(16.0).view(1, 1, 4, 4), kernel).flatten().tolist() == [10, 18, 42, 50]


def test_thirds_and_heads_by_hand():
    # Width 2, weight rows 1..6 times (1, 0): queries of the token (1, 9) are 1, 2, keys 3, 4, values 5, 6; bias 10.
    weight = torch.tensor([[float(row), 0.0] for row in range(1, 7)])
    token = torch.tensor([[[1.0, 9.0]]])
    assert thirds(weight, None, token, QUERIES).flatten().tolist() == [1, 2]
    both = thirds(weight, torch.full((6,), 10.0), token, KEYS_AND_VALUES)
    assert both.flatten().tolist() == [13, 14, 15, 16]
    k, v = in_heads(both, 2, 2)
    assert k.shape == v.shape == (1, 2, 1, 1)
    assert (k.flatten().tolist(), v.flatten().tolist()) == ([13, 14], [15, 16])


def test_one_token_is_contiguous():
    token = one(torch.arange(12.0).view(2, 3, 2), 1)
    assert token.tolist() == [[[2.0, 3.0]], [[8.0, 9.0]]]
    assert token.is_contiguous()


def test_what_does_nothing_is_not_called_and_all_else_is():
    calls = []
    modules = [nn.Identity(), nn.Dropout(0.0), nn.Dropout(0.5), nn.ReLU(), nn.Sequential()]
    for module in modules:
        module.register_forward_hook(lambda module, *_: calls.append(module))
    assert torch.equal(applied(torch.ones(3), *(module.eval() for module in modules)), torch.ones(3))
    assert calls == modules[2:]


@pytest.mark.parametrize(
    "options",
    [
        {"qk_norm": True, "scale_attn_norm": True, "scale_mlp_norm": True, "init_values": 0.3, "drop_path": 0.5},
        {"attn_drop": 0.5},
        {"proj_drop": 0.5},
        {"gate": nn.Linear(8, 8)},
        {"attn_layer": "diff"},
    ],
)
def test_whatever_else_timm_puts_into_a_block_is_respected(options):
    torch.manual_seed(0)
    gate = options.get("gate")
    block = Block(8, 2, qkv_bias=True, **{key: value for key, value in options.items() if key != "gate"})
    if gate is not None:
        block.attn.gate = copy.deepcopy(gate)
    block = lively(block.double())
    tokens = torch.randn(4, 5, 8, dtype=torch.float64)
    for training in (True, False):
        block.train(training)
        torch.manual_seed(1)
        expected = block(tokens)
        for only, part in ((None, expected), (2, expected[:, 2:3])):
            torch.manual_seed(1)
            torch.testing.assert_close(vit.apply_block(block, tokens, only=only), part, **CLOSE)
