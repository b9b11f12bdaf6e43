"""LoRA: where it acts, what it trains, and that folding it changes nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from robustft.models.checkpoint import load_strict
from robustft.models.classifier import Classifier
from robustft.models.tunings.lora import FullLora, Lora, NormalisedLora, SplitQKV
from robustft.models.tunings.sites import SITES
from tests.models.toy_vit import WIDTH, full_size, images, toy_vit, trained

VIT_B = {"width": 768, "depth": 12, "heads": 12, "image": 32, "patch": 4}
VIT_L = {"width": 1024, "depth": 24, "heads": 16, "image": 32, "patch": 4}


def disturb(model: Classifier, *, only: str) -> None:
    """Move the parameters whose name ends so, as training would."""
    draws = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(only):
                parameter += 0.3 * torch.randn(parameter.shape, generator=draws, dtype=parameter.dtype)


def test_split_queries_keys_and_values_are_the_fused_ones_and_fuse_back_to_the_same_bits():
    fused = toy_vit().backbone.blocks[0].attn.qkv
    split, x = SplitQKV(fused), torch.randn(3, 4, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(split(x), fused(x), rtol=0, atol=1e-14)
    again = split.fused()
    assert torch.equal(again.weight, fused.weight)
    assert torch.equal(again.bias, fused.bias)
    assert torch.equal(split.k.weight, fused.weight[WIDTH : 2 * WIDTH])


@pytest.mark.parametrize("sites", [SITES, ("q", "v"), ("fc1", "fc2")])
@pytest.mark.parametrize("tuning", [Lora, FullLora])
def test_tuning_starts_at_the_pre_trained_function(tuning, sites):
    model, x = toy_vit(), images()
    expected = model(x)
    torch.testing.assert_close(tuning(rank=3, sites=sites).prepare(model)(x), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sites", [SITES, ("q", "v"), ("proj",)])
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_folding_keeps_the_logits_and_leaves_a_plain_network(sites, alpha):
    model, x = toy_vit(), images()
    before, names = model(x), set(model.state_dict())
    tuning = Lora(rank=3, alpha=alpha, sites=sites)
    tuning.prepare(model)
    disturb(model, only="lora_B.default.weight")
    expected = model(x)
    assert (expected - before).abs().max() > 0.05
    exported = tuning.export(model)
    torch.testing.assert_close(exported(x), expected, rtol=0, atol=1e-12)
    assert set(exported.state_dict()) == names
    load_strict(toy_vit(seed=5), exported.state_dict(), where=None)


def test_one_site_by_hand():
    # W0 + alpha B A with A = (1, 2, 0, ...), B = (3, 0, ...), alpha 1/2: row 0 of W0 gains (1.5, 3, 0, ...).
    model = toy_vit()
    before = model.backbone.blocks[1].attn.qkv.weight.detach().clone()
    tuning = Lora(rank=1, alpha=0.5, sites=("k",))
    tuning.prepare(model)
    layer = model.backbone.blocks[1].attn.qkv.k
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(torch.tensor([1.0, 2.0] + [0.0] * (WIDTH - 2)))
        layer.lora_B["default"].weight.copy_(torch.tensor([3.0] + [0.0] * (WIDTH - 1))[:, None])
    gain = tuning.export(model).backbone.blocks[1].attn.qkv.weight - before
    expected = torch.zeros_like(before)
    expected[WIDTH, :2] = torch.tensor([1.5, 3.0])
    torch.testing.assert_close(gain, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("size", "sites", "rank", "per_rank"),
    [(VIT_B, SITES, 16, 165_888), (VIT_B, ("q", "v"), 4, 36_864), (VIT_L, SITES, 8, 442_368)],
)
def test_lora_trains_as_many_parameters_as_its_formula_says(size, sites, rank, per_rank):
    model = Lora(rank=rank, sites=sites).prepare(full_size(**size))
    assert trained(model) - trained(model.head) == per_rank * rank


def test_full_lora_adds_a_norm_of_each_sites_inputs():
    # Scale and shift of 5 inputs of width d and one of 4 d in each block: 12 x 2 x 9 x 768.
    model = FullLora(rank=8).prepare(full_size(**VIT_B))
    assert trained(model) - trained(model.head) == 8 * 165_888 + 12 * 2 * 9 * 768


@pytest.mark.parametrize("tuning", [Lora(rank=2), FullLora(rank=2)])
def test_only_the_adapters_and_the_head_are_trained(tuning):
    model = toy_vit()
    plain = list(model.backbone.parameters())
    tuning.prepare(model)
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias"} <= names
    assert all(".lora_" in name or name.endswith((".a", ".b", ".norm.weight", ".norm.bias", "head.weight", "head.bias"))
               for name in names)  # fmt: skip
    assert not any(p is old for p in model.parameters() if p.requires_grad for old in plain)
    disturb(model, only="lora_B.default.weight")
    disturb(model, only=".b")
    model(images()).square().sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())} == names


def test_the_patch_embedding_is_no_site_although_its_layer_is_called_proj():
    model = Lora(rank=2, sites=("proj",)).prepare(toy_vit())
    assert isinstance(model.backbone.patch_embed.proj, nn.Conv2d)


def test_the_norm_of_full_lora_by_hand():
    # x = (1, 3) -> norm (-1, 1); A = (2, 1) -> -1; B = (1, -2) -> (-1, 2); alpha 1/2; W0 = identity: (1, 3) + (-.5, 1).
    base = nn.Linear(2, 2, bias=False).double()
    nn.init.eye_(base.weight)
    layer = NormalisedLora(base, rank=1, alpha=0.5)
    layer.norm.eps = 0.0
    with torch.no_grad():
        layer.a.copy_(torch.tensor([[2.0, 1.0]]))
        layer.b.copy_(torch.tensor([[1.0], [-2.0]]))
    x = torch.tensor([1.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(layer(x), torch.tensor([0.5, 4.0], dtype=torch.float64), rtol=0, atol=1e-14)


def test_full_lora_stays_attached_and_loads_after_it_is_attached_again():
    tuning, x = FullLora(rank=2), images()
    model = tuning.prepare(toy_vit())
    disturb(model, only=".b")
    fresh = tuning.prepare(toy_vit(seed=4))
    load_strict(fresh, copy.deepcopy(tuning.export(model)).state_dict(), where=None)
    assert torch.equal(fresh(x), model(x))
    assert FullLora.attached
    assert not Lora.attached


def test_an_attack_sees_the_same_network_and_leaves_every_bit_as_it_was():
    tuning, x = Lora(rank=3, alpha=0.5), images()
    model = tuning.prepare(toy_vit())
    disturb(model, only="lora_B.default.weight")
    expected, state = model(x), copy.deepcopy(model.state_dict())
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf).logsumexp(1).sum(), leaf)
    with tuning.attacked(model):
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-12)
        (merged,) = torch.autograd.grad(model(leaf).logsumexp(1).sum(), leaf)
        assert not torch.equal(model.backbone.blocks[0].mlp.fc1.get_base_layer().weight,
                               state["backbone.blocks.0.mlp.fc1.base_layer.weight"])  # fmt: skip
    torch.testing.assert_close(merged, gradient, rtol=0, atol=1e-12)
    assert torch.equal(model(x), expected)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with pytest.raises(RuntimeError, match="on purpose"), tuning.attacked(model):
        raise RuntimeError("on purpose")
    assert torch.equal(model(x), expected)
