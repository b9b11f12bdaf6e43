from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from robustft.attacks.pgd import evaluating
from robustft.models.two_wing_batch_norm import TwoWingBatchNorm2d, halves, to_adaptive_wing, to_two_wings, using


def layer(*, mean: float = 2.0, variance: float = 4.0) -> TwoWingBatchNorm2d:
    """One channel, float64, an eps that rounds away, so that the arithmetic is by hand."""
    norm = nn.BatchNorm2d(1, eps=1e-30).double()
    norm.running_mean.fill_(mean)
    norm.running_var.fill_(variance)
    return TwoWingBatchNorm2d(norm)


def pixels(*values: float) -> torch.Tensor:
    """One grey image of one pixel for each value."""
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


def two_wing_layers(model: nn.Module) -> list[TwoWingBatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, TwoWingBatchNorm2d)]


def test_the_frozen_wing_uses_the_stored_statistics_in_train_mode_too():
    norm = layer().train()
    norm.wing = "frozen"
    # (x - 2) / sqrt(4)
    assert norm(pixels(0.0, 4.0, 8.0)).flatten().tolist() == pytest.approx([-1.0, 1.0, 3.0], abs=1e-14)


def test_the_adaptive_wing_uses_the_batch_when_training_and_its_running_statistics_when_not():
    norm = layer().train()
    # Mean 4, variance (16 + 0 + 16)/3 of the batch: (x - 4) / sqrt(32/3).
    scale = (32 / 3) ** 0.5
    assert norm(pixels(0.0, 4.0, 8.0)).flatten().tolist() == pytest.approx([-4 / scale, 0.0, 4 / scale], abs=1e-14)
    # Momentum 0.1: mean 0.9*2 + 0.1*4 = 2.2; variance 0.9*4 + 0.1*(32/2) = 5.2, the unbiased one.
    assert norm.adaptive.running_mean.item() == pytest.approx(2.2, abs=1e-14)
    assert norm.adaptive.running_var.item() == pytest.approx(5.2, abs=1e-14)
    norm.eval()
    assert norm(pixels(2.2)).item() == pytest.approx(0.0, abs=1e-14)
    assert norm(pixels(2.2 + 5.2**0.5)).item() == pytest.approx(1.0, abs=1e-14)


def test_both_wings_each_normalise_their_half():
    norm = layer().train()
    norm.wing = "both"
    # Frozen on (0, 4): (x - 2)/2. Adaptive on (10, 30): mean 20, variance 100, (x - 20)/10.
    assert norm(pixels(0.0, 4.0, 10.0, 30.0)).flatten().tolist() == pytest.approx([-1.0, 1.0, -1.0, 1.0], abs=1e-14)
    # Only the second half reached the running statistics: 0.9*2 + 0.1*20.
    assert norm.adaptive.running_mean.item() == pytest.approx(3.8, abs=1e-14)


@pytest.mark.parametrize("wing", ["frozen", "adaptive", "both"])
def test_the_frozen_statistics_never_change(wing, tiny_model, random_batch):
    model = to_two_wings(tiny_model(lived=True)).train()
    before = [copy.deepcopy(norm.frozen.state_dict()) for norm in two_wing_layers(model)]
    x, _ = random_batch(8)
    with using(model, wing):
        for _ in range(3):
            model(x)
    with evaluating(model):
        model(x)
    model.train()
    model.eval()
    model.train()
    model(x)
    for norm, old in zip(two_wing_layers(model), before, strict=True):
        assert not norm.frozen.training
        for name, value in norm.frozen.state_dict().items():
            assert torch.equal(value, old[name]), name


def test_the_frozen_wing_is_frozen_from_the_start():
    # Before anyone has called train() or eval(): the pre-trained layer it is copied from may be in training mode.
    norm = layer()
    norm.wing = "frozen"
    assert norm(pixels(0.0, 4.0, 8.0)).flatten().tolist() == pytest.approx([-1.0, 1.0, 3.0], abs=1e-14)
    assert norm.frozen.running_mean.item() == 2.0


def test_the_adaptive_statistics_do_change(tiny_model, random_batch):
    model = to_two_wings(tiny_model(lived=True)).train()
    before = [norm.adaptive.running_mean.clone() for norm in two_wing_layers(model)]
    with using(model, "both"):
        model(random_batch(8)[0])
    assert all(
        not torch.equal(norm.adaptive.running_mean, old)
        for norm, old in zip(two_wing_layers(model), before, strict=True)
    )


def test_both_scales_and_shifts_start_from_the_pretrained_ones_and_are_parameters_of_their_own(tiny_model):
    pretrained = tiny_model(lived=True)
    originals = [module for module in pretrained.modules() if isinstance(module, nn.BatchNorm2d)]
    wings = two_wing_layers(to_two_wings(copy.deepcopy(pretrained)))
    assert len(wings) == len(originals) == 6  # the stem, two blocks of two, one shortcut
    for wing, original in zip(wings, originals, strict=True):
        for norm in (wing.frozen, wing.adaptive):
            for name, value in original.state_dict().items():
                assert torch.equal(norm.state_dict()[name], value), name
            assert norm.weight.requires_grad
            assert norm.bias.requires_grad
        assert wing.frozen.weight is not wing.adaptive.weight
        assert wing.frozen.weight.data_ptr() != wing.adaptive.weight.data_ptr()
        assert wing.frozen.bias.data_ptr() != wing.adaptive.bias.data_ptr()
        assert wing.frozen.running_mean.data_ptr() != wing.adaptive.running_mean.data_ptr()


def test_two_wings_add_one_scale_and_one_shift_for_each_channel_and_share_all_else(tiny_model):
    model = tiny_model()
    convolutions = {id(parameter) for parameter in model.parameters() if parameter.dim() != 1}
    before = sum(parameter.numel() for parameter in model.parameters())
    # Channels: stem 4; block 1: 4 + 4; block 2: 8 + 8 + 8 in the shortcut. Twice 36 numbers more.
    to_two_wings(model)
    assert sum(parameter.numel() for parameter in model.parameters()) == before + 2 * 36
    assert {id(parameter) for parameter in model.parameters() if parameter.dim() != 1} == convolutions


def test_a_fresh_pair_of_wings_computes_what_the_pretrained_network_computed(tiny_model, random_batch):
    model, (x, _) = tiny_model(lived=True).eval(), random_batch(4)
    expected = model(x)
    to_two_wings(model).eval()
    for wing in ("frozen", "adaptive", "both"):
        with using(model, wing):
            torch.testing.assert_close(model(x), expected)


def test_both_is_the_frozen_wing_on_the_first_half_and_the_adaptive_one_on_the_second(tiny_model, random_batch):
    model = to_two_wings(tiny_model(lived=True, dtype=torch.float64)).train()
    for norm in two_wing_layers(model):
        norm.adaptive.weight.data *= 1.5  # so that the wings differ in every part
    x, _ = random_batch(8, dtype=torch.float64)
    with using(model, "both"):
        both = model(x)
    with using(model, "frozen"):
        frozen = model(x[:4])
    with using(model, "adaptive"):
        adaptive = model(x[4:])
    torch.testing.assert_close(both, torch.cat([frozen, adaptive]), rtol=0, atol=1e-12)
    assert (frozen - model(x[:4])).abs().max() > 0.01


@pytest.mark.parametrize(("n", "first"), [(2, 1), (3, 2), (8, 4), (9, 5)])
def test_an_odd_batch_gives_its_extra_image_to_the_first_half(n, first):
    x = torch.arange(n)
    one, two = halves(x)
    assert one.tolist() == list(range(first))
    assert two.tolist() == list(range(first, n))


@pytest.mark.parametrize("n", [0, 1])
def test_two_wings_need_two_images(n, tiny_model, random_batch):
    with pytest.raises(ValueError, match=f"at least 2, not {n}"):
        halves(torch.zeros(n, 1))
    model, (x, _) = to_two_wings(tiny_model()).eval(), random_batch(1)
    with using(model, "both"), pytest.raises(ValueError, match="at least 2, not 1"):
        model(x)
    model(x)  # one wing alone takes a single image in evaluation mode


def test_the_wing_acts_only_inside_its_context_also_when_nested(tiny_model):
    model = to_two_wings(tiny_model())

    def acting() -> set[str]:
        return {norm.wing for norm in two_wing_layers(model)}

    assert acting() == {"adaptive"}
    with using(model, "both"):
        assert acting() == {"both"}
        with using(model, "frozen"):
            assert acting() == {"frozen"}
        assert acting() == {"both"}
    assert acting() == {"adaptive"}


def test_the_wing_is_given_back_after_an_exception_layer_by_layer(tiny_model):
    model = to_two_wings(tiny_model())
    first, *others = two_wing_layers(model)
    first.wing = "frozen"  # a layer that differs from the rest must stay different
    with pytest.raises(RuntimeError, match="inside"), using(model, "both"):
        raise RuntimeError("inside")
    assert first.wing == "frozen"
    assert {norm.wing for norm in others} == {"adaptive"}


def test_the_adaptive_wing_comes_out_as_an_ordinary_network(tiny_model, random_batch):
    model = to_two_wings(tiny_model(lived=True)).train()
    x, _ = random_batch(8)
    for norm in two_wing_layers(model):
        norm.adaptive.weight.data += 0.5
        norm.frozen.weight.data -= 0.25
    with using(model, "both"):
        model(x)
    model.eval()
    with using(model, "adaptive"):
        adaptive = model(x)
    with using(model, "frozen"):
        frozen = model(x)
    exported = to_adaptive_wing(model)
    assert two_wing_layers(exported) == []
    assert sum(isinstance(module, nn.BatchNorm2d) for module in exported.modules()) == 6
    assert torch.equal(exported.eval()(x), adaptive)
    assert not torch.allclose(adaptive, frozen)
    assert set(exported.state_dict()) == set(tiny_model().state_dict())


def test_there_and_back_is_the_network_that_went_in(tiny_model, random_batch):
    model, (x, _) = tiny_model(lived=True).eval(), random_batch(4)
    state, expected = copy.deepcopy(model.state_dict()), model(x)
    back = to_adaptive_wing(to_two_wings(model)).eval()
    assert list(back.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in back.state_dict().items())
    assert torch.equal(back(x), expected)


def test_a_network_that_is_itself_a_batch_norm_is_replaced_too():
    assert isinstance(to_two_wings(nn.BatchNorm2d(3)), TwoWingBatchNorm2d)
    assert type(to_adaptive_wing(TwoWingBatchNorm2d(nn.BatchNorm2d(3)))) is nn.BatchNorm2d
