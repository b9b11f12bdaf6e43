from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from robustft.models.classifier import build_classifier
from robustft.models.self_supervised.selfie import AttentionPooling, PatchEncoder, SelfieHead, encoder_layer

from .test_pretext import TINY

FULL = {"grid": (4, 4), "targets": 4, "layers": 13, "heads": 16, "feedforward": 2048, "dropout": 0.1}
SMALL = {"grid": [4, 4], "targets": 4, "layers": 1, "heads": 2, "feedforward": 16, "dropout": 0.0}


def pooling(width: int = 8, **changes) -> AttentionPooling:
    torch.manual_seed(0)
    head = AttentionPooling(width, **{**SMALL, **changes}).double().eval()
    nn.init.normal_(head.columns.weight)  # zero at first, which would hide mistakes
    return head


def test_the_head_has_exactly_the_published_number_of_parameters():
    # Fact sheet, section 2: 13 encoder layers, u_0 and 4 + 4 positions, all 1024 wide.
    with torch.device("meta"):
        head = AttentionPooling(1024, **FULL)
    assert sum(parameter.numel() for parameter in head.parameters()) == 109_207_552


def test_each_patch_passes_the_trunk_alone():
    model = build_classifier(TINY, shape=[1, 8, 8], classes=5).double().eval()
    trunk = model.backbone.trunk
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    features = PatchEncoder(trunk, (4, 4))(x)
    assert features.shape == (3, 16, model.backbone.trunk_features)
    alone = trunk(x[1:2, :, 2:4, 4:6]).mean(dim=(2, 3))  # row 1, column 2 of patches of 2 x 2
    torch.testing.assert_close(features[1, 6], alone[0])


def test_logits_by_hand():
    # Without layers the summary is u_0. Width 2, grid 1 x 3, cells 0 and 2 are targets:
    # query k = u_0 + row 0 + column of the cell, logit of choice j = patch j . query k.
    head = AttentionPooling(2, grid=(1, 3), targets=2, layers=0, heads=1, feedforward=1, dropout=0.0).double()
    head.targets = torch.tensor([0, 2])
    with torch.no_grad():
        head.u_0.copy_(torch.tensor([1.0, 0.0]))
        head.rows.weight.copy_(torch.tensor([[0.0, 2.0]]))
        head.columns.weight.copy_(torch.tensor([[3.0, 0.0], [9.0, 9.0], [0.0, -3.0]]))
    # Queries: (4, 2) and (1, -1). Patches: (1, 0), context (7, 7), (0, 2).
    patches = torch.tensor([[[1.0, 0.0], [7.0, 7.0], [0.0, 2.0]]], dtype=torch.float64)
    assert head(patches).tolist() == [[[4.0, 1.0], [4.0, -2.0]]]  # rows are choices, columns are cells


def test_the_layers_are_post_norm_with_tanh_gelu_and_see_no_mask():
    layer = pooling().layers[0]
    assert layer.norm_first is False
    assert layer.self_attn.batch_first
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)
    by_hand = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(layer.activation(x), by_hand)


def test_attention_starts_from_the_released_weights_not_from_torchs():
    """Torch draws query, key and value as one matrix, half as wide, and sets their biases to zero."""
    torch.manual_seed(0)
    with torch.device("cpu"):
        attention = encoder_layer(1024, heads=16, feedforward=32, dropout=0.1).self_attn
    # sqrt(2 / (1024 + 64)) = 0.0429 for each of three, sqrt(1 / 1024) = 0.03125 for the output; of a million numbers.
    for weight in attention.in_proj_weight.chunk(3):
        assert weight.std().item() == pytest.approx(0.0428746, rel=0.005)
        assert weight.abs().max() > 4 * 0.0428746  # normal, not uniform
    assert attention.out_proj.weight.std().item() == pytest.approx(0.03125, rel=0.005)
    # Biases are uniform within 1 / 32: deviation 1 / (32 sqrt(3)) = 0.01804.
    for bias in (*attention.in_proj_bias.chunk(3), attention.out_proj.bias):
        assert bias.std().item() == pytest.approx(0.01804, rel=0.1)
        assert bias.abs().max() <= 1 / 32


def test_there_is_no_dropout_inside_the_feed_forward_part():
    """Torch's layer drops after the GELU too; the released one only after attention and after the second matrix."""
    layer = encoder_layer(8, heads=2, feedforward=16, dropout=0.5)
    assert [layer.self_attn.dropout, layer.dropout1.p, layer.dropout.p, layer.dropout2.p] == [0.5, 0.5, 0.0, 0.5]
    x = torch.rand(2, 3, 8)
    hidden = []
    layer.linear2.register_forward_hook(lambda module, inputs, output: hidden.append(inputs[0]))
    layer.train()(x)
    assert (hidden[0] != 0).all()


def test_new_heads_start_from_a_zero_token_and_zero_columns():
    torch.manual_seed(0)
    head = AttentionPooling(256, **SMALL)
    assert not head.u_0.any()
    assert not head.columns.weight.any()
    assert head.rows.weight.std().item() == pytest.approx(1, abs=0.1)  # rows N(0, 1)


def test_context_patches_have_no_position_and_target_patches_do():
    head, features = pooling(), torch.randn(2, 16, 8, dtype=torch.float64)
    head.targets = torch.tensor([0, 1, 2, 3])
    order = torch.cat([torch.arange(4), 4 + torch.randperm(12, generator=torch.Generator().manual_seed(0))])
    torch.testing.assert_close(head(features[:, order]), head(features))
    swapped = features[:, [1, 0, *range(2, 16)]]  # two target patches: choices change places, cells do not
    torch.testing.assert_close(head(swapped), head(features)[:, [1, 0, 2, 3]])


def test_the_targets_are_hidden_from_the_summary():
    head, features = pooling(), torch.randn(2, 16, 8, dtype=torch.float64)
    other = features.clone()
    other[:, head.targets[1]] += 1.0
    changed = (head(other) != head(features)).any(dim=2)
    assert changed.tolist() == [[False, True, False, False]] * 2  # only the logits of that choice


def test_one_split_for_the_whole_batch_is_drawn_and_kept():
    head = pooling()
    assert head.targets.tolist() == [0, 1, 2, 3]  # before any draw
    head.draw(torch.Generator().manual_seed(0))
    first = head.targets.tolist()
    assert first == sorted(set(first))
    assert len(first) == 4
    head.draw(torch.Generator().manual_seed(1))
    assert head.targets.tolist() != first
    head.draw(torch.Generator().manual_seed(0))
    assert head.targets.tolist() == first
    # Every cell can be a target: 200 draws of 4 out of 16 miss one with probability (3/4)^200.
    draws, seen = torch.Generator().manual_seed(2), set()
    for _ in range(200):
        head.draw(draws)
        seen |= set(head.targets.tolist())
    assert seen == set(range(16))


@pytest.mark.parametrize("targets", [0, 16])
def test_some_patches_must_be_targets_and_some_context(targets):
    with pytest.raises(ValueError, match=f"{targets} cannot be targets"):
        pooling(targets=targets)


def test_it_can_be_differentiated_twice():
    # Fused attention kernels cannot; the regulariser of ensemble pre-training needs it.
    head = pooling(grid=(2, 2), targets=1)
    features = torch.randn(1, 4, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda f: head(f).logsumexp(1).sum(), (features,))


def test_the_tuning_leaves_the_trunk_under_its_name_and_drops_stage_4():
    model = build_classifier(TINY, shape=[1, 8, 8], classes=5)
    before = copy.deepcopy(model.state_dict())
    model = SelfieHead(**SMALL).prepare(model)
    state = model.state_dict()
    assert not any("stage4" in name for name in state)
    trunk = {name for name in before if name.startswith("backbone.trunk.")}
    assert {name for name in state if name.startswith("backbone.")} == trunk
    assert all(torch.equal(state[name], before[name]) for name in trunk)
    assert model(torch.rand(3, 1, 8, 8)).shape == (3, 4, 4)


def test_the_full_size_model_runs_on_small_images_of_the_paper():
    backbone = {
        "implementation": "robustft.models.backbones.resnet_v2:ResNetV2",
        "parameters": {"width": 64, "blocks": [3, 4, 6, 3], "block": "bottleneck"},
        "normalisation": {"mean": [0.0] * 3, "std": [1.0] * 3},
    }
    with torch.device("meta"):
        model = SelfieHead(**FULL).prepare(build_classifier(backbone, shape=[3, 32, 32], classes=10))
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_533_696 + 109_207_552
