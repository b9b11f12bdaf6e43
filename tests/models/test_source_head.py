from __future__ import annotations

import copy

import pytest
import torch

from robustft.models.classifier import Classifier
from robustft.models.source_head import WithSource
from robustft.speed.optimizations import Optimizations, apply_optimizations


@pytest.fixture
def source(tiny_model):
    return tiny_model(seed=5, classes=4, lived=True).eval().requires_grad_(False)


@pytest.fixture
def model(tiny_model, source):
    return WithSource(tiny_model(lived=True), source)


def test_both_heads_answer_from_the_same_features(model, source, random_batch):
    x, _ = random_batch(6)
    model.eval()
    own, theirs = model.both(x)
    torch.testing.assert_close(own, model(x), rtol=0, atol=0)
    torch.testing.assert_close(theirs, source.head(model.features(x)), rtol=0, atol=0)
    torch.testing.assert_close(theirs, model.answering_source()(x), rtol=0, atol=0)
    assert own.shape == (6, 5)
    assert theirs.shape == (6, 4)


def test_the_source_is_no_part_of_what_is_trained_saved_or_switched(model, source):
    assert not {id(module) for module in model.modules()} & {id(module) for module in source.modules()}
    assert set(model.state_dict()) == {*Classifier.state_dict(model.without_source()), *head_names(model)}
    model.train()
    assert not any(module.training for module in model.source.modules())


def head_names(model):
    return {f"source_head.{name}" for name in model.source_head.state_dict()}


def test_the_head_is_a_copy_that_is_trained(model, source):
    before = copy.deepcopy(source.head.state_dict())
    with torch.no_grad():
        model.source_head.weight.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in source.head.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.source_head.parameters())


def test_the_view_shares_weights_and_modes(model):
    view = model.answering_source()
    assert view.backbone is model.backbone
    assert view.head is model.source_head
    assert type(model.without_source()) is Classifier
    assert model.without_source().head is model.head


def test_the_view_has_the_optimizations_of_the_model(model):
    apply_optimizations(model, Optimizations(folded_batch_norm=False))
    assert not model.answering_source().optimizations.folded_batch_norm
