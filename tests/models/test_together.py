from __future__ import annotations

import pytest
import torch
from timm.layers import DropPath
from torch import nn

from robustft.models.classifier import Classifier
from robustft.models.together import together
from robustft.speed.optimizations import Optimizations, apply_optimizations

from .toy_vit import images, toy_vit


def passes(model: nn.Module, *batches: torch.Tensor) -> tuple[list[int], tuple[torch.Tensor, ...]]:
    """How many images each pass has, and the logits."""
    seen: list[int] = []
    hook = model.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    logits = together(model, *batches)
    hook.remove()
    return seen, logits


def convolutional(*extra: nn.Module) -> Classifier:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), *extra, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Classifier(nn.Identity(), body, nn.Linear(4, 5)).double()


def test_batches_of_any_sizes_share_a_pass_and_get_their_own_logits():
    model, a, b = toy_vit().train(), images(4), images(2, seed=1)
    seen, logits = passes(model, a, b)
    assert seen == [6]
    torch.testing.assert_close(logits, (model(a), model(b)), rtol=0, atol=1e-13)


def test_gradients_are_those_of_two_passes():
    def gradients(one_pass):
        model = toy_vit().train()
        apply_optimizations(model, Optimizations(one_pass=one_pass))
        clean, adversarial = together(model, images(4), images(4, seed=1))
        (clean.square().sum() + (clean.exp() * adversarial).sum()).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    torch.testing.assert_close(gradients(True), gradients(False), rtol=1e-11, atol=1e-11)


def test_switched_off_each_batch_has_its_own_pass():
    model = toy_vit()
    apply_optimizations(model, Optimizations(one_pass=False))
    seen, logits = passes(model, images(4), images(2))
    assert seen == [4, 2]
    assert torch.equal(logits[1], model(images(2)))


def test_statistics_of_a_batch_stay_those_of_each_batch():
    model, batches = convolutional().train(), (images(4), images(2, seed=1))
    seen, logits = passes(model, *batches)
    assert seen == [4, 2]
    assert torch.equal(logits[0], model(batches[0]))
    assert passes(model.eval(), *batches)[0] == [6]
    model.backbone[1].running_mean = model.backbone[1].running_var = None  # then a batch's own, in evaluation too
    assert passes(model, *batches)[0] == [4, 2]


@pytest.mark.parametrize(("p", "expected"), [(0.5, [4, 2]), (0.0, [6])])
def test_masks_of_dropout_stay_those_of_each_batch(p, expected):
    model = convolutional(nn.Dropout(p)).train()
    model.backbone[1].eval()
    assert passes(model, images(4), images(2))[0] == expected
    assert passes(model.eval(), images(4), images(2))[0] == [6]


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(1, track_running_stats=True), DropPath(0.5)])
def test_running_statistics_and_stochastic_depth_see_each_batch_alone(layer):
    model = nn.Sequential(layer, nn.Flatten())
    assert passes(model.train(), images(4), images(2))[0] == [4, 2]
    assert passes(model.eval(), images(4), images(2))[0] == [6]


def test_a_model_without_levers_has_them_pulled():
    assert passes(nn.Flatten(), images(4), images(2))[0] == [6]
