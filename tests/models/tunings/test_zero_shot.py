"""Zero-shot classification: the texts are read once, and the image tower alone is trained."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from open_clip.transformer import TextTransformer
from torch import nn

from robustft.errors import ConfigError
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.protocol import Tuned
from robustft.models.checkpoint import load_classifier, read_checkpoint, save_checkpoint
from robustft.models.classifier import Classifier
from robustft.models.text_heads import FixedTextHead
from robustft.models.tunings.zero_shot import ZeroShot
from tests.methods.cases import BUDGET, seeded
from tests.models.toy_clip import NAMES, about, images, toy_clip

ZERO_SHOT = {"implementation": "robustft.models.tunings.zero_shot:ZeroShot", "parameters": {"scale": 1.0}}


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
