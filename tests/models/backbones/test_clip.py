from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
import yaml
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.transformer import TextTransformer
from torch import nn

from robustft.errors import ConfigError
from robustft.files import ROOT
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.protocol import Tuned
from robustft.models.backbones.clip import ImageTower
from robustft.models.checkpoint import load_classifier, load_strict, read_checkpoint, save_checkpoint
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.text_heads import FixedTextHead, TextHead, tokenised
from robustft.models.tunings.zero_shot import ZeroShot
from tests.methods.cases import BUDGET, seeded

from .toy_clip import NAMES, backbone, toy_clip

BACKBONES = yaml.safe_load((ROOT / "config" / "backbones.yaml").read_text(encoding="utf-8"))["backbones"]
START, END = 49406, 49407


@pytest.fixture
def text_calls(monkeypatch):
    """Count how often a text tower reads."""
    calls = []
    forward = TextTransformer.forward

    def counted(self, text):
        calls.append(len(text))
        return forward(self, text)

    monkeypatch.setattr(TextTransformer, "forward", counted)
    return calls


def images(n=5, *, dtype=torch.float64, size=8):
    return torch.rand(n, 1, size, size, generator=seeded(3), dtype=dtype)


# -- tokens --------------------------------------------------------------------------------------------------------


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


def test_the_model_is_open_clips_own():
    config = {"image_size": 8, "patch_size": 4, "width": 8, "layers": 1, "head_width": 4, "mlp_ratio": 2.0}
    text = CLIPTextCfg(context_length=8, width=8, layers=1, heads=2, mlp_ratio=2.0)
    torch.manual_seed(0)
    theirs = CLIP(6, CLIPVisionCfg(**config), text, quick_gelu=True).double()
    with torch.no_grad():
        theirs.logit_scale.fill_(math.log(30))
    spec = backbone(quick_gelu=True)
    spec["head"]["parameters"]["quick_gelu"] = True
    ours = build_classifier(spec, shape=[1, 8, 8], classes=2, prompts=["a zero", "a one"]).double()
    renamed = {}
    for name, tensor in theirs.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "visual":
            renamed[f"backbone.tower.{rest}"] = tensor
        else:
            renamed["head.logit_scale" if name == "logit_scale" else f"head.tower.{name}"] = tensor
    load_strict(ours, renamed, where=None, parts=["backbone", "head"])
    x = images()
    colour = ((x - 0.3) / 0.4).expand(-1, 3, -1, -1)
    with torch.no_grad():
        expected, _ = theirs.get_logits(colour, ours.head.tokens)
        torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6)  # the scale 30 is stored in float32


def test_openais_vit_b32_has_its_parameters():
    spec = BACKBONES["clip_vit_b32"]
    with torch.device("meta"):
        tower = ImageTower(channels=3, **spec["parameters"])
        head = TextHead(512, classes=1, prompts=["a photo"], **spec["head"]["parameters"])
    # Image tower, by hand. Patches 3 x 32 x 32 x 768, class token 768, 50 positions, two norms and the projection
    # outside of 12 blocks of 12 D^2 weights and 13 D biases and norm weights.
    d = 768
    by_hand = 3 * 32 * 32 * d + d + 50 * d + 4 * d + d * 512 + 12 * (12 * d * d + 13 * d)
    assert sum(parameter.numel() for parameter in tower.parameters()) == by_hand == 87_849_216
    # Text tower: 49408 tokens and 77 positions of 512, a norm, the projection, 12 blocks; and the logit scale.
    d = 512
    by_hand = 49408 * d + 77 * d + 2 * d + d * d + 12 * (12 * d * d + 13 * d) + 1
    assert sum(parameter.numel() for parameter in head.parameters()) == by_hand == 63_428_097
    assert by_hand + 87_849_216 == 151_277_313  # the size of OpenAI's model
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


def test_the_learnt_scale_stops_at_100():
    head = toy_clip().head
    assert head.scale.item() == pytest.approx(1 / 0.07, rel=1e-6)
    with torch.no_grad():
        head.logit_scale.fill_(7.0)
    assert head.scale.item() == 100.0


# -- fine-tuning ---------------------------------------------------------------------------------------------------


def test_the_fixed_head_gives_the_text_towers_logits():
    model = toy_clip()
    x = images()
    with torch.no_grad():
        before = model(x)
        after = ZeroShot().prepare(model)(x)
    assert isinstance(model.head, FixedTextHead)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-14)


def test_only_and_all_of_the_image_tower_is_trained():
    model = ZeroShot().prepare(toy_clip())
    model(images()).square().sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert reached == {name for name, _ in model.named_parameters()}
    assert reached == {f"backbone.tower.{name}" for name, _ in model.backbone.tower.named_parameters()}


def test_texts_are_read_once_and_not_every_step(text_calls):
    model = toy_clip()
    method = Tuned(AdversarialTraining(), ZeroShot())
    model = method.prepare(model)
    x, y = images(), torch.arange(5)
    for _ in range(3):
        x_adv = method.attack(model, x, y, budget=BUDGET, generator=seeded())
        method.loss(model, x, x_adv, y).total.backward()
    assert text_calls == [5]


def test_pre_training_reads_the_texts_each_time(text_calls):
    model = toy_clip()
    for _ in range(2):
        model(images()).sum().backward()
    assert len(text_calls) == 2
    assert model.head.tower.token_embedding.weight.grad.any()
    assert model.head.logit_scale.grad.any()


def test_the_released_variant_loses_the_scale_and_changes_the_normalisation():
    # Its logits are bare cosines of images normalised otherwise.
    x = images()
    ours = ZeroShot().prepare(toy_clip())
    released = ZeroShot(scale=1.0, normalisation={"mean": [0.2], "std": [0.5]}).prepare(toy_clip())
    assert released.head.scale.item() == 1.0
    with torch.no_grad():
        features = released.backbone((x - 0.2) / 0.5)
        expected = F.normalize(features, dim=1) @ ours.head.embeddings.T
        torch.testing.assert_close(released(x), expected, rtol=0, atol=1e-7)  # 0.2 and 0.5 are stored in float32
    assert released(x).abs().max() <= 1 + 1e-12
    assert ours.head.scale.item() == pytest.approx(1 / 0.07, rel=1e-6)


def test_zero_shot_needs_a_text_head():
    model = Classifier(nn.Identity(), nn.Flatten(), nn.Linear(64, 5))
    with pytest.raises(ConfigError, match="text head"):
        ZeroShot().prepare(model)


def test_a_fine_tuned_model_can_be_prepared_again():
    once = ZeroShot(scale=2.0).prepare(toy_clip())
    embeddings = once.head.embeddings.clone()
    again = ZeroShot().prepare(once)
    assert again.head.scale.item() == 2.0
    assert torch.equal(again.head.embeddings, embeddings)


# -- checkpoints and other data sets -------------------------------------------------------------------------------


def about(model_prompts, tuning=None):
    return {
        "backbone": backbone(),
        "shape": [1, 8, 8],
        "classes": len(model_prompts),
        "prompts": model_prompts,
        "tuning": tuning,
    }


ZERO_SHOT = {"implementation": "robustft.models.tunings.zero_shot:ZeroShot", "parameters": {"scale": 1.0}}


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


def test_a_fine_tuned_checkpoint_is_rebuilt_without_its_text_tower(tmp_path):
    prompts = [f"a {name}" for name in NAMES[:5]]
    model = ZeroShot(scale=1.0).prepare(toy_clip(prompts, dtype=torch.float32))
    save_checkpoint(tmp_path / "run.safetensors", model, about=about(prompts, ZERO_SHOT))
    tensors, _ = read_checkpoint(tmp_path / "run.safetensors")
    assert {name for name in tensors if name.startswith("head.")} == {"head.embeddings", "head.scale"}
    loaded, _ = load_classifier(tmp_path / "run.safetensors")
    x = images(dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))


def test_another_data_set_is_read_by_the_original_text_tower_and_scaled_as_the_run():
    clip = toy_clip(["a six", "a five and six", "one"])
    tuned = ZeroShot(scale=1.0).prepare(toy_clip())
    with torch.no_grad():
        for parameter in tuned.backbone.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(), dtype=parameter.dtype))
        x = images()
        head = tuned.head.retargeted(clip.head)
        features = tuned.features(x)
        assert torch.equal(head(features), F.normalize(features, dim=1) @ clip.head.text().T)
        live = toy_clip().head.retargeted(clip.head)  # zero-shot CLIP: its own scale
        torch.testing.assert_close(live(features), head(features) / 0.07, rtol=1e-6, atol=0)
    assert not head.embeddings.requires_grad
    assert not live.scale.requires_grad
