"""Heads that read texts: tokens, scaled cosines, and any classes for a pre-trained text tower."""

from __future__ import annotations

import pytest
import torch

from robustft.errors import ConfigError
from robustft.models.checkpoint import load_classifier, read_checkpoint, save_checkpoint
from robustft.models.classifier import build_classifier
from robustft.models.text_heads import FixedTextHead, TextHead, tokenised
from tests.models.toy_clip import NAMES, about, backbone, images, toy_clip

START, END = 49406, 49407


def test_tokens_are_openais_with_padding_behind_the_end():
    # "hello world!" is 3306, 1002, 256 in the published vocabulary.
    assert tokenised(["hello world!"], 8).tolist() == [[START, 3306, 1002, 256, END, 0, 0, 0]]


def test_a_prompt_that_just_fits_is_whole_and_a_longer_one_an_error():
    assert tokenised(["one two three"], 5)[0, -1] == END
    with pytest.raises(ConfigError, match="longer than 4 tokens") as error:
        tokenised(["one", "one two three"], 4)
    assert "one two three" in str(error.value)


def test_texts_are_told_apart_by_every_word():
    rows = tokenised(["plain three and seven", "plain seven and three", "thick three and seven"], 12)
    assert len({tuple(row) for row in rows.tolist()}) == 3
    assert sorted(rows[0].tolist()) == sorted(rows[1].tolist())


@pytest.mark.parametrize("prompts", [None, ["a zero"]])
def test_a_text_head_needs_a_prompt_for_each_class(prompts):
    with pytest.raises(ConfigError, match="one prompt for each class"):
        build_classifier(backbone(), shape=[1, 8, 8], classes=2, prompts=prompts)


# -- logits --------------------------------------------------------------------------------------------------------


def test_logits_by_hand():
    # cos((3, 4), (1, 0)) = 3/5 and cos((3, 4), (0, 1)) = 4/5, times ten; an embedding's length does not matter.
    head = FixedTextHead(torch.eye(2, dtype=torch.float64), torch.tensor(10.0, dtype=torch.float64))
    features = torch.tensor([[3.0, 4.0], [0.3, 0.4]], dtype=torch.float64)
    assert head(features).flatten().tolist() == pytest.approx([6, 8, 6, 8], abs=1e-14)


def test_openais_text_tower_has_its_parameters():
    with torch.device("meta"):
        head = TextHead(512, classes=1, prompts=["a photo"], width=512, layers=12, heads=8, quick_gelu=True)
    # 49408 tokens and 77 positions of 512, a norm, the projection, 12 blocks; and the logit scale.
    d = 512
    by_hand = 49408 * d + 77 * d + 2 * d + d * d + 12 * (12 * d * d + 13 * d) + 1
    assert sum(parameter.numel() for parameter in head.parameters()) == by_hand == 151_277_313 - 87_849_216


def test_the_learnt_scale_stops_at_100():
    head = toy_clip().head
    assert head.scale.item() == pytest.approx(1 / 0.07, rel=1e-6)
    with torch.no_grad():
        head.logit_scale.fill_(7.0)
    assert head.scale.item() == 100.0


def test_pre_training_trains_the_text_tower_and_the_scale():
    model = toy_clip()
    model(images()).sum().backward()
    assert model.head.tower.token_embedding.weight.grad.any()
    assert model.head.logit_scale.grad.any()


def test_a_pre_trained_checkpoint_fits_any_classes(tmp_path):
    prompts = [f"a {name}" for name in NAMES[:5]]
    model = toy_clip(prompts, dtype=torch.float32)
    save_checkpoint(tmp_path / "clip.safetensors", model, about=about(prompts))
    others = ["a three and four", "a six"]
    loaded, _ = load_classifier(tmp_path / "clip.safetensors", prompts=others)
    assert "head.tokens" not in read_checkpoint(tmp_path / "clip.safetensors")[0]
    expected = toy_clip(others, dtype=torch.float32)  # equal seeds give equal weights
    x = images(dtype=torch.float32)
    with torch.no_grad():
        assert loaded(x).shape == (5, 2)
        assert torch.equal(loaded(x), expected(x))
