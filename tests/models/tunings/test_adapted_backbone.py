"""A backbone that acts with changed weights: in each pass, in an attack, and folded."""

from __future__ import annotations

import copy

import pytest
import torch

from robustft.errors import ConfigError
from robustft.models.tunings.adapted_backbone import AdaptedBackbone, adapted_backbone, fold
from tests.models.toy_vit import DEPTH, WIDTH, images, toy_vit


class Shifted(AdaptedBackbone):
    """Adds a learnable number to all weights of the site `proj`, and counts how often it computes them."""

    def __init__(self, plain):
        super().__init__(plain)
        self.shift, self.count = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64)), 0

    def deltas(self):
        self.count += 1
        return {"proj": self.shift * torch.ones(DEPTH, WIDTH, WIDTH, dtype=torch.float64)}


@pytest.fixture
def model():
    model = toy_vit()
    model.backbone = Shifted(model.backbone)
    return model


def test_a_pass_uses_the_changed_weights_and_trains_only_the_change(model):
    x, plain = images(), toy_vit()
    with torch.no_grad():
        for block in plain.backbone.blocks:
            block.attn.proj.weight += 0.1
    torch.testing.assert_close(model(x), plain(x), rtol=0, atol=1e-12)
    assert {name for name, p in model.backbone.named_parameters() if p.requires_grad} == {"shift"}
    model(x).sum().backward()
    assert model.backbone.shift.grad.abs() > 0


def test_an_attack_computes_the_weights_once_and_reaches_no_parameter(model):
    x, expected = images(), model(images())
    model.backbone.count = 0
    with model.backbone.under_attack():
        assert all(torch.equal(model(x), expected) for _ in range(3))
        assert not model.backbone(x).requires_grad
    assert model.backbone.count == 1
    assert model(x).requires_grad


def test_weights_are_used_within_their_context_only_also_after_an_error(model):
    x, expected = images(), model(images())
    weights = {name: torch.zeros_like(weight) for name, weight in model.backbone.weights().items()}
    with model.backbone.acting_with(weights):
        assert not torch.allclose(model(x), expected)
    with pytest.raises(RuntimeError, match="on purpose"), model.backbone.acting_with(weights):
        raise RuntimeError("on purpose")
    assert torch.equal(model(x), expected)


def test_folding_keeps_the_logits_and_the_model(model):
    x, state = images(), copy.deepcopy(model.state_dict())
    plain = fold(model, model.backbone.weights())
    assert torch.equal(plain(x), model(x))
    assert set(plain.state_dict()) == set(toy_vit().state_dict())
    assert all(p.requires_grad for p in plain.backbone.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_another_backbone_is_refused():
    with pytest.raises(ConfigError, match="not an adapted one"):
        adapted_backbone(toy_vit())
