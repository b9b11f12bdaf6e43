from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustft.errors import ConfigError
from robustft.models.checkpoint import load_strict
from robustft.models.tunings.protocol import Full, Partial, Tuning, build_tuning

TUNING = "robustft.models.tunings.protocol"


def descended(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, steps: int = 3) -> nn.Module:
    """Train what requires a gradient for some steps, with weight decay and momentum, in training mode."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(steps):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def changed(model: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    after = model.state_dict()
    assert list(after) == list(before), "the names are those of the plain network, in its order"
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_full_trains_everything_and_changes_nothing(tiny_model):
    model, tuning = tiny_model(lived=True), Full()
    state = copy.deepcopy(model.state_dict())
    assert tuning.prepare(model) is model
    assert all(parameter.requires_grad for parameter in model.parameters())
    with tuning.attacked(model):
        assert changed(model, state) == set()
    assert tuning.export(model) is model
    assert changed(model, state) == set()
    assert not tuning.attached


FROZEN = [["backbone"], ["backbone.stem"], ["backbone.stages.0", "head"], ["backbone.stem.1"]]


@pytest.mark.parametrize("frozen", FROZEN, ids=str)
def test_frozen_parts_keep_weights_and_batch_statistics_and_all_others_move(frozen, tiny_model, random_batch):
    model = tiny_model(lived=True)
    before = copy.deepcopy(model.state_dict())
    tuning = Partial(frozen=frozen)
    model = tuning.export(descended(tuning.prepare(model), *random_batch(8)))
    kept = {name for name in before if name.startswith((*(f"{part}." for part in frozen), "normalise."))}
    assert changed(model, before) == set(before) - kept
    assert any("running_mean" in name for name in kept) or frozen == ["head"]  # statistics are among what was kept


def test_a_part_that_was_merely_not_trained_would_still_update_its_statistics(tiny_model, random_batch):
    # What the tuning above is for: without it, the first forward pass in training mode moves them.
    model = tiny_model(lived=True)
    before = copy.deepcopy(model.state_dict())
    model.backbone.stem.requires_grad_(False)
    assert "backbone.stem.1.running_mean" in changed(descended(model, *random_batch(8)), before)


def test_a_frozen_part_acts_as_in_evaluation_mode_whatever_mode_the_model_is_put_into(tiny_model, random_batch):
    x, _ = random_batch(8)
    model = tiny_model(lived=True).eval()
    with torch.no_grad():
        expected = model.backbone.stem(x)
    model = Partial(frozen=["backbone.stem"]).prepare(model)
    for mode in (True, False, True):
        assert model.train(mode).training is mode
        assert model.head.training is mode
        assert not any(layer.training for layer in model.backbone.stem.inner.modules())
        assert torch.equal(model.backbone.stem(x), expected)


def test_gradients_pass_through_a_frozen_part_to_what_is_before_it_and_to_the_images(tiny_model, random_batch):
    x, y = random_batch(8)
    model = Partial(frozen=["backbone.stages", "head"]).prepare(tiny_model(lived=True)).train()
    F.cross_entropy(model(x.requires_grad_()), y).backward()
    assert x.grad.abs().max() > 0
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {name for name, _ in model.named_parameters() if name.startswith("backbone.stem.")}


def test_the_export_of_a_partial_tuning_is_a_plain_network(tiny_model, random_batch):
    x, y = random_batch(8)
    tuning = Partial(frozen=["backbone.stem", "backbone.stages.1"])
    model = descended(tuning.prepare(tiny_model(lived=True)), x, y).eval()
    with torch.no_grad():
        expected = model(x)
    exported, fresh = tuning.export(model), tiny_model(seed=9)
    load_strict(fresh, exported.state_dict(), where=None)
    assert [type(layer) for layer in exported.modules()] == [type(layer) for layer in fresh.modules()]
    with torch.no_grad():
        assert torch.equal(exported.eval()(x), expected)
        assert torch.equal(fresh.eval()(x), expected)
    assert not tuning.attached  # nothing has to be attached again


@pytest.mark.parametrize(
    ("name", "hint"), [("backbone.stemm", "backbone.stem"), ("backbon", "backbone"), ("head.weight", "head")]
)
def test_a_part_that_the_model_lacks_is_an_error_that_names_the_nearest(name, hint, tiny_model):
    with pytest.raises(ConfigError, match=f"no part '{name}' to freeze") as error:
        Partial(frozen=[name]).prepare(tiny_model())
    assert f"did you mean '{hint}'?" in str(error.value)


def test_no_specification_trains_everything():
    assert build_tuning(None) == Full()


def test_a_specification_becomes_the_tuning_with_its_parameters():
    assert build_tuning({"implementation": f"{TUNING}:Full"}) == Full()
    spec = {"implementation": f"{TUNING}:Partial", "parameters": {"frozen": ["head"]}}
    assert build_tuning(spec) == Partial(frozen=["head"])


def test_an_unknown_parameter_of_a_tuning_is_an_error_that_names_the_nearest():
    spec = {"implementation": f"{TUNING}:Partial", "parameters": {"frosen": ["head"]}}
    with pytest.raises(ConfigError, match="'Partial' has no parameter 'frosen'") as error:
        build_tuning(spec)
    assert "did you mean 'frozen'?" in str(error.value)


@dataclass(frozen=True, kw_only=True)
class Lazy(Tuning):
    """Says nothing but what it must."""


def test_a_tuning_that_says_nothing_trains_and_attacks_the_model_as_it_is(tiny_model):
    model = tiny_model()
    assert Lazy().prepare(model) is Lazy().export(model) is model
    with Lazy().attacked(model) as seen:
        assert seen is None
    assert Lazy.attached is False
