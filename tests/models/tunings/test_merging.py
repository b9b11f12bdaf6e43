"""Merging: products and not factors, weights that sum to 1, and folding."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from robustft.errors import ConfigError
from robustft.models.checkpoint import load_strict
from robustft.models.classifier import Classifier
from robustft.models.tunings.hypernetwork import HyperLora, folded, hyper_backbone
from robustft.models.tunings.merging import MergeWeights, learnable, uniform
from tests.models.toy_vit import images, toy_vit, trained

DEFENCES = ("pgd_at", "trades", "mart", "prm")


def shared(seed: int = 0) -> Classifier:
    """A toy with a hypernetwork that has learnt something."""
    tuning = HyperLora(defences=DEFENCES, rank=2, alpha=0.5, embedding=4, hidden=8, code=4)
    model = tuning.prepare(toy_vit())
    torch.manual_seed(seed)
    with torch.no_grad():
        for head in hyper_backbone(model).hypernetwork.heads_b.values():
            head.weight.normal_(0, 0.5)
    return model


def specialists() -> list[Classifier]:
    """One model for each defence, as tuning copies of the shared hypernetwork makes them."""
    models = []
    for number, _ in enumerate(DEFENCES):
        model = copy.deepcopy(shared())
        with torch.no_grad():
            for head in hyper_backbone(model).hypernetwork.heads_a.values():
                head.bias += 0.1 * (number + 1)
        models.append(model)
    return models


def change(model: Classifier, layer: str = "blocks.1.mlp.fc2.weight") -> torch.Tensor:
    """By how much a weight of a plain network differs from the pre-trained one."""
    return (model.backbone.get_parameter(layer) - toy_vit().backbone.get_parameter(layer)).detach()


def test_the_uniform_merge_is_the_mean_of_the_folded_changes():
    models = specialists()
    each = [change(folded([model], defence=defence)) for model, defence in zip(models, DEFENCES, strict=True)]
    merged = change(uniform(models, defences=DEFENCES))
    torch.testing.assert_close(merged, sum(each) / 4, rtol=0, atol=1e-14)
    assert merged.abs().max() > 1e-2


def test_the_mean_of_products_is_not_the_product_of_means():
    models = specialists()
    factors = [hyper_backbone(m).factors(d)["fc2"] for m, d in zip(models, DEFENCES, strict=True)]
    a, b = (sum(f[part][1] for f in factors) / 4 for part in (0, 1))
    assert not torch.allclose(change(uniform(models, defences=DEFENCES)), b @ a, atol=1e-3)


def test_products_do_not_depend_on_the_basis_of_the_factors():
    # B R^-1 and R A are the same LoRA; a merge of factors would change.
    model = shared()
    merged = learnable([model], defences=DEFENCES).backbone
    before = merged.deltas()["fc1"]
    rotation = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64))[0]
    with torch.no_grad():
        merged.a_fc1[:, :2] = rotation @ merged.a_fc1[:, :2]  # of the first defence only
        merged.b_fc1[:, :, 0] = merged.b_fc1[:, :, 0] @ rotation.T
    torch.testing.assert_close(merged.deltas()["fc1"], before, rtol=0, atol=1e-14)


def test_one_shared_hypernetwork_gives_the_loras_of_all_its_defences():
    model = shared()
    each = [change(folded([model], defence=defence)) for defence in DEFENCES]
    torch.testing.assert_close(change(uniform([model], defences=DEFENCES)), sum(each) / 4, rtol=0, atol=1e-14)
    one = change(uniform([model], defences=["mart"]))
    torch.testing.assert_close(one, each[2], rtol=0, atol=1e-14)


@pytest.mark.parametrize("per_site", [False, True])
def test_a_learnable_merge_starts_uniform_and_follows_its_weights(per_site):
    models, x = specialists(), images()
    merged = learnable(models, defences=DEFENCES, per_site=per_site)
    torch.testing.assert_close(merged(x), uniform(models, defences=DEFENCES)(x), rtol=0, atol=1e-13)
    with torch.no_grad():
        merged.backbone.logits[..., 1] = 100.0  # softmax: all weight on the second
    torch.testing.assert_close(merged(x), folded([models[1]], defence="trades")(x), rtol=0, atol=1e-12)


def test_weights_by_hand():
    # Logits (ln 2, 0, 0, 0) for the queries' site in block 0 only: weights (2/5, 1/5, 1/5, 1/5) there, 1/4 elsewhere.
    models = specialists()
    merged = learnable(models, defences=DEFENCES, per_site=True)
    with torch.no_grad():
        merged.backbone.logits[0, 0, 0] = math.log(2)
    each = [hyper_backbone(m).deltas(d)["q"] for m, d in zip(models, DEFENCES, strict=True)]
    deltas = merged.backbone.deltas()["q"]
    expected = 0.4 * each[0][0] + 0.2 * (each[1][0] + each[2][0] + each[3][0])
    torch.testing.assert_close(deltas[0], expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(deltas[1], sum(e[1] for e in each) / 4, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("per_site", "count"), [(False, 4), (True, 4 * 6 * 2)])
def test_only_the_weights_are_trained_and_the_gradient_reaches_them(per_site, count):
    model = MergeWeights().prepare(learnable(specialists(), defences=DEFENCES, per_site=per_site))
    assert trained(model) == count
    model(images()).square().sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"backbone.logits"}
    assert model.backbone.logits.grad.abs().min() > 0


def test_the_folded_merge_is_the_unfolded_one_to_the_bit():
    tuning, x = MergeWeights(), images()
    model = tuning.prepare(learnable(specialists(), defences=DEFENCES))
    with torch.no_grad():
        model.backbone.logits.copy_(torch.tensor([0.3, -1.0, 0.7, 0.1]))
    expected = model(x)
    with tuning.attacked(model):
        assert torch.equal(model(x), expected)
        assert not model.backbone(x).requires_grad
    plain = tuning.export(model)
    assert torch.equal(plain(x), expected)
    fresh = toy_vit(seed=7)
    load_strict(fresh, plain.state_dict(), where=None)
    assert torch.equal(fresh(x), expected)


def test_models_that_differ_in_more_than_their_loras_are_not_merged():
    models = specialists()
    with torch.no_grad():
        models[2].head.bias += 1.0
    with pytest.raises(ConfigError, match="nothing but their LoRAs"):
        uniform(models, defences=DEFENCES)
