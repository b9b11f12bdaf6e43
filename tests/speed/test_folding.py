"""Batch norm folded into convolutions: the same function and input gradients, only where it may be folded."""

from __future__ import annotations

import contextlib
import copy
import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from robustft.attacks.inner_maximization import attack_mode
from robustft.errors import RobustftError
from robustft.models.backbones.imagenet_resnet import ImageNetResNet
from robustft.models.backbones.resnet import ResNet
from robustft.models.backbones.resnet_v2 import ResNetV2
from robustft.models.classifier import Classifier, Normalise
from robustft.models.two_wing_batch_norm import to_two_wings, using
from robustft.speed import folding
from robustft.speed.folding import foldable, folded_batch_norm
from robustft.speed.optimizations import Optimizations, apply_optimizations


def shaken(model: nn.Module) -> nn.Module:
    """Give batch norms statistics, scales and shifts that are not those of a fresh one."""
    draws = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=draws)
            module.running_var.uniform_(0.5, 2, generator=draws)
            module.weight.data.uniform_(-1.5, 1.5, generator=draws)
            module.bias.data.normal_(0, 0.3, generator=draws)
    return model.double().eval()


def classifier(backbone: nn.Module) -> Classifier:
    torch.manual_seed(1)
    head = nn.Linear(backbone.out_features, 4)
    return shaken(Classifier(Normalise([0.4] * 3, [0.3] * 3), backbone, head))


BACKBONES = {
    # 7 convolutions in the blocks of 3 stages, 2 shortcuts, the stem: all are followed by a batch norm.
    "resnet": (lambda: ResNet(channels=3, width=4, blocks=[1, 1, 1]), 9),
    # Stem, first convolution of each block and 3 projections are; sums between blocks are normalised, not folded.
    "resnet_v2": (lambda: ResNetV2(channels=3, width=4, blocks=[1, 1, 1, 1], block="basic"), 8),
    "bottlenecks": (lambda: ResNetV2(channels=3, width=4, blocks=[1, 1, 1, 1], block="bottleneck"), 13),
    "imagenet": (lambda: ImageNetResNet(channels=3, blocks=[1, 1, 1, 1], block="basic", upsample=32), 12),
}


@pytest.fixture(params=BACKBONES)
def case(request: pytest.FixtureRequest) -> tuple[Classifier, int]:
    make, pairs = BACKBONES[request.param]
    torch.manual_seed(0)
    return classifier(make()), pairs


X = torch.rand(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def outcome(model: nn.Module) -> tuple[Tensor, Tensor]:
    x = X.clone().requires_grad_()
    logits = model(x)
    return logits.detach(), torch.autograd.grad(logits.square().sum(), x)[0]


def test_logits_and_input_gradients_are_the_same(case: tuple[Classifier, int]) -> None:
    model, pairs = case
    plain = outcome(model)
    with folded_batch_norm(model, X) as count:
        folded = outcome(model)
    assert count == pairs
    for a, b in zip(plain, folded, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for a, b in zip(plain, outcome(model), strict=True):
        assert torch.equal(a, b), "afterwards the model is as it was"


def test_a_folded_convolution_by_hand() -> None:
    convolution, norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)
    model = nn.Sequential(convolution, norm).eval()
    with torch.no_grad():
        convolution.weight.fill_(3.0)
        convolution.bias.fill_(5.0)
        norm.running_mean.fill_(1.0)
        norm.running_var.fill_(4.0)
        norm.weight.fill_(6.0)
        norm.bias.fill_(7.0)
    seen: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with folded_batch_norm(model, torch.ones(1, 1, 1, 1)):
        seen.clear()
        result = model(torch.full((1, 1, 1, 1), 2.0))
    hook.remove()
    # 3 * 2 + 5 = 11; (11 - 1) / 2 * 6 + 7 = 37, and it is the convolution that gives it.
    assert result.item() == 37.0
    assert seen[0].item() == 37.0


class Branches(nn.Module):
    """What must not be folded: a result that is read twice, one that is changed before, a norm with two sources."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.changed, self.one, self.other = (nn.Conv2d(3, 3, 1) for _ in range(4))
        self.after_twice, self.after_changed, self.shared = (nn.BatchNorm2d(3) for _ in range(3))
        self.parted, self.after_parted = nn.Conv2d(3, 6, 1), nn.BatchNorm2d(6)
        self.good, self.after_good = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.twice(x)
        z = self.after_twice(y) + y
        z = self.after_changed(self.changed(z) * 2)
        z = self.shared(self.one(z)) + self.shared(self.other(z))
        parts = self.parted(z)
        z = self.after_parted(parts)[:, :3] + parts.chunk(2, dim=1)[0]
        return self.after_good(self.good(z))


def test_only_a_convolution_with_one_batch_norm_as_its_one_reader_folds() -> None:
    model = shaken(Branches())
    assert foldable(model, X) == [(model.good, model.after_good)]


def test_batch_norms_in_training_mode_or_without_statistics_do_not_fold() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).double().eval()
    model[1].train()
    assert foldable(model, X) == [(model[2], model[3])]
    other = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)).double().eval()
    assert foldable(other, X) == []


def test_two_wings_fold_the_wing_that_acts() -> None:
    model = to_two_wings(classifier(ResNet(channels=3, width=4, blocks=[1, 1])))
    shaken(model)
    with using(model, "adaptive"):
        plain = outcome(model)
        with folded_batch_norm(model, X) as count:
            folded = outcome(model)
    assert count == 6
    torch.testing.assert_close(plain, folded, rtol=1e-10, atol=1e-12)


def test_a_model_that_changes_its_path_while_folded_is_refused() -> None:
    model = to_two_wings(classifier(ResNet(channels=3, width=4, blocks=[1])))
    with (
        using(model, "adaptive"),
        pytest.raises(RobustftError, match="folded_batch_norm: false"),
        folded_batch_norm(model, X),
        using(model, "frozen"),
    ):
        model(X)
    with using(model, "frozen"):
        model(X)  # the refusal left nothing behind


def test_weights_that_changed_between_two_attacks_are_folded_anew() -> None:
    model = classifier(ResNet(channels=3, width=4, blocks=[1]))
    for _ in range(2):
        with folded_batch_norm(model, X):
            folded = model(X)
        torch.testing.assert_close(folded, model(X), rtol=1e-10, atol=1e-12)
        with torch.no_grad():
            model.backbone.stem[0].weight.mul_(1.7)
            model.backbone.stem[1].running_var.mul_(0.3)


def test_channels_last_stays_channels_last() -> None:
    model = classifier(ResNet(channels=3, width=4, blocks=[1])).to(memory_format=torch.channels_last)
    with folded_batch_norm(model, X):
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and "forward" in vars(module) and module.kernel_size == (3, 3):
                assert module.forward.__self__.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("pixels", "expected"), [(4, torch.contiguous_format), (8, torch.channels_last)])
def test_wide_convolutions_of_small_maps_run_contiguous_and_give_the_same(pixels, expected) -> None:
    torch.manual_seed(3)
    wide = [nn.Conv2d(256, 256, 3, padding=1, bias=False), nn.BatchNorm2d(256), nn.Conv2d(256, 2, 3)]
    model = shaken(nn.Sequential(*wide)).float().to(memory_format=torch.channels_last)
    x = torch.rand(2, 256, pixels, pixels).contiguous(memory_format=torch.channels_last).requires_grad_()
    made: list[Tensor] = []
    outcomes = []
    for context in (contextlib.nullcontext(), folded_batch_norm(model, x)):
        with context:
            hook = model[0].register_forward_hook(lambda _, inputs, result: made.append(result))
            result = model(x)
            hook.remove()
            outcomes.append([result.detach(), torch.autograd.grad(result.square().sum(), x)[0]])
    assert made[0].is_contiguous(memory_format=torch.channels_last)
    assert made[1].is_contiguous(memory_format=expected)
    for plain, folded in zip(*outcomes, strict=True):
        torch.testing.assert_close(folded, plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))


def test_without_the_optimization_an_attack_folds_nothing_and_computes_no_gradient_of_a_weight() -> None:
    model = classifier(ResNet(channels=3, width=4, blocks=[1])).train()
    frozen = next(iter(model.head.parameters()))
    frozen.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    apply_optimizations(model, Optimizations(folded_batch_norm=False))
    with attack_mode(model, X):
        patched = ["forward" in vars(module) for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert not model.backbone.stem[1].training
    assert not any(patched)
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert not frozen.requires_grad


def test_an_attack_that_fails_leaves_the_model_as_it_was() -> None:
    model = classifier(ResNet(channels=3, width=4, blocks=[1])).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(KeyError), attack_mode(model, X):
        raise KeyError
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any("forward" in vars(module) for module in model.modules())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_where_to_fold_is_looked_for_once_for_all_views_of_a_network() -> None:
    model = classifier(ResNet(channels=3, width=4, blocks=[1]))
    passes: list[int] = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    for head in (model.head, nn.Linear(4, 9).double()):
        view = Classifier(model.normalise, model.backbone, head)
        with folded_batch_norm(view, X) as count:
            assert count == 3
    assert len(passes) == 3, "one to look, two to compare, none for the second view"


def test_a_network_that_is_gone_leaves_nothing_behind() -> None:
    model = classifier(ResNet(channels=3, width=4, blocks=[1]))
    with folded_batch_norm(model, X):
        pass
    gone = weakref.ref(model.backbone.stem[1])
    del model
    gc.collect()
    assert gone() is None


class Returning(nn.Module):
    """Its caller reads a convolution's result, too."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.convolution(x)
        return self.norm(y), y


def test_a_result_that_the_model_returns_is_not_folded_away() -> None:
    model = shaken(Returning())
    plain = model(X)
    with folded_batch_norm(model, X) as count:
        folded = model(X)
    assert count == 0
    for a, b in zip(plain, folded, strict=True):
        assert torch.equal(a, b)


class Choices(Classifier):
    """Logits with a choice that does not exist."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pad(super().forward(x), (0, 1), value=-torch.inf)


def test_logits_of_minus_infinity_do_not_keep_a_model_from_folding() -> None:
    plain = classifier(ResNet(channels=3, width=4, blocks=[1]))
    model = Choices(plain.normalise, plain.backbone, plain.head)
    with folded_batch_norm(model, X) as count:
        assert count == 3


def test_an_attack_within_an_attack_finds_the_model_folded_already() -> None:
    model = classifier(ResNet(channels=3, width=4, blocks=[1]))
    with folded_batch_norm(model, X) as outer:
        with folded_batch_norm(model, X) as inner:
            folded = model(X)
        assert torch.equal(model(X), folded)
    assert (outer, inner) == (3, 0)
    torch.testing.assert_close(folded, model(X), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("network", ["resnet", "resnet_v2"])
@pytest.mark.parametrize("mode", ["training", "evaluation", "folded"])
def test_a_relu_that_overwrites_harms_nothing_that_is_read_again(network, mode):
    """The same values and gradients as with ReLUs that make a tensor of their own, and the images stay as they are."""
    model = (
        ResNet(channels=1, width=4, blocks=[1, 2])
        if network == "resnet"
        else ResNetV2(channels=1, width=4, blocks=[1, 2, 1, 1], block="bottleneck")
    )
    model = shaken(model.double()).train(mode == "training")
    x = torch.rand(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = []
    for overwrites in (True, False):
        tried, images = copy.deepcopy(model), x.clone().requires_grad_()
        with pytest.MonkeyPatch.context() as patch:
            if not overwrites:
                relu = nn.functional.relu
                patch.setattr(nn.functional, "relu", lambda values, inplace=False, relu=relu: relu(values))
            with folded_batch_norm(tried, images) if mode == "folded" else contextlib.nullcontext():
                features = tried(images)
                (gradient,) = torch.autograd.grad(features.square().sum(), images)
        assert torch.equal(images, x)
        found.append((features, gradient))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][1].abs().max() > 0


def test_under_autocast_folded_weights_are_cast_once_and_the_numbers_stay(tiny_model, random_batch):
    """Autocast remembers casts of weights that need a gradient alone: an attack cast all of them at every step."""
    model, (x, _) = tiny_model(lived=True).eval().requires_grad_(False), random_batch(4)
    pairs = foldable(model, x)

    def logits() -> torch.Tensor:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x)

    with folding._acting(pairs):  # folded outside of autocast: cast at every call
        expected = logits()
    with torch.autocast("cpu", dtype=torch.bfloat16), folding._acting(pairs):
        assert {pair[0].forward.__self__.weight.dtype for pair in pairs} == {torch.bfloat16}
        assert torch.equal(logits(), expected)
