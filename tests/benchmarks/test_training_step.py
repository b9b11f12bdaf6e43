"""The textbook's steps and ours are the same step: in float64 their images, losses and updated weights are equal.

This is what makes their times comparable, and it is the proof for every optimization that it trades no accuracy.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks import textbook
from benchmarks.cases import CASES, Case
from benchmarks.sides import Orders, Ours, Problem, Recorded, Setting, Theirs, difference, flops, opponent, weights
from benchmarks.training_step import QUICK_BATCHES, single_optimizations, totals
from robustft.attacks.threat import ThreatModel
from robustft.data.batches import Images
from robustft.errors import ConfigError

pytestmark = pytest.mark.usefixtures("torch_settings_restored")

NORMALISATION = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
VIT = {"image_size": 8, "patch_size": 4, "width": 8, "depth": 2, "heads": 2}
TOWER = {"image_size": 8, "patch_size": 4, "width": 8, "layers": 2, "heads": 2, "embed_dim": 6, "mlp_ratio": 2.0}
TEXT = {"width": 8, "layers": 1, "heads": 2, "context_length": 16, "mlp_ratio": 2.0}
BACKBONES: dict[str, dict[str, Any]] = {
    "resnet18_cifar": {
        "implementation": "robustft.models.backbones.resnet:ResNet",
        "parameters": {"width": 16, "blocks": [1, 1]},  # with fewer channels it would stay contiguous
    },
    "resnet50v2": {
        "implementation": "robustft.models.backbones.resnet_v2:ResNetV2",
        "parameters": {"width": 4, "blocks": [1, 1, 1, 1], "block": "bottleneck"},
    },
    "deit_small_patch4": {
        "implementation": "robustft.models.backbones.vit:ViT",
        "parameters": VIT,
        "head": {"implementation": "robustft.models.backbones.vit:Head"},
    },
    "clip_vit_b32": {
        "implementation": "robustft.models.backbones.clip:ImageTower",
        "parameters": TOWER,
        "head": {"implementation": "robustft.models.text_heads:TextHead", "parameters": TEXT},
    },
}
"""Tiny networks of the cases' kinds."""


def tiny(name: str, **changes: Any) -> Problem:
    """A case on a tiny network in float64, with an odd batch and a large radius."""
    case = replace(CASES[name], batch=5, eps="1/10", **changes)
    backbone = {"name": "tiny", "shape": [3, 8, 8], "normalisation": NORMALISATION, **BACKBONES[case.backbone]}
    problem = Problem.on(backbone, case)
    return replace(problem, initial=problem.initial.double())


def both(problem: Problem, scratch: Any, *, setting: Setting | None = None, variant: str = "textbook"):
    setting = setting or Setting()
    ours = Ours(problem.trainer(setting, scratch))
    return ours, opponent(problem, ours, variant, setting)


@pytest.fixture
def doubled(monkeypatch):
    """Let both sides' images be float64."""
    take, item = Images.take, textbook.Pictures.__getitem__

    def twice(function):
        def get(self, index):
            x, y = function(self, index)
            return x.double(), y

        return get

    monkeypatch.setattr(Images, "take", twice(take))
    monkeypatch.setattr(textbook.Pictures, "__getitem__", twice(item))


OTHER = {
    torch.contiguous_format: torch.channels_last,
    torch.channels_last: torch.contiguous_format,
}
SETTINGS = [(name, optimization) for name, case in CASES.items() for optimization in (None, *case.optimizations)]


@pytest.mark.usefixtures("doubled")
@pytest.mark.parametrize(("name", "optimization"), SETTINGS)
def test_our_step_is_the_textbooks_with_all_optimizations_and_without_each(name, optimization, tmp_path):
    setting = Setting() if optimization is None else Setting().without(optimization)
    problem = tiny(name)
    ours, theirs = both(problem, tmp_path, setting=setting)
    if problem.case.convolutional:
        expected = torch.contiguous_format if optimization == "channels_last" else torch.channels_last
        weight = next(p for p in ours.trainer.model.parameters() if p.dim() == 4 and min(p.shape[1:]) > 1)
        assert ours.trainer.layout == expected
        assert weight.is_contiguous(memory_format=expected)
        assert not weight.is_contiguous(memory_format=OTHER[expected])
    found = difference(problem, ours, theirs)
    assert len(found.pixels) == problem.case.steps + 1  # the start, and the images after each step
    assert found.largest < 1e-12
    assert found.attack_loss < 1e-12
    assert found.loss < 1e-12
    assert found.update < 1e-10


@pytest.mark.usefixtures("doubled")
@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name, case in CASES.items() for variant in list(case.variants)[1:]]
)
def test_the_textbooks_other_forms_take_the_same_step(name, variant, tmp_path):
    problem = tiny(name)
    found = difference(problem, *both(problem, tmp_path, variant=variant))
    assert found.largest < 1e-12
    assert found.update < 1e-10


@pytest.mark.usefixtures("doubled")
@pytest.mark.parametrize("name", CASES)
def test_they_stay_together_for_three_steps(name, tmp_path):
    problem = tiny(name)
    ours, theirs = both(problem, tmp_path)
    for _ in range(3):
        ours()
        theirs()
    mine = weights(ours.trainer.model)
    for theirs_name, tensor in weights(theirs.step.model).items():
        own = problem.case.ours(theirs_name)
        if own in mine:
            torch.testing.assert_close(mine[own], tensor, rtol=1e-9, atol=1e-12, msg=own)


@pytest.mark.usefixtures("doubled")
@pytest.mark.parametrize("name", CASES)
def test_every_trained_tensor_is_compared(name, tmp_path):
    problem = tiny(name)
    ours, theirs = both(problem, tmp_path)
    names = {problem.case.ours(name) for name in theirs.step.model.state_dict()}
    trained = {name for name, parameter in ours.trainer.model.named_parameters() if parameter.requires_grad}
    assert trained
    assert trained <= names
    updated = sum(p.numel() for group in theirs.step.optimizer.param_groups for p in group["params"])
    assert updated == sum(p.numel() for p in ours.trainer.model.parameters() if p.requires_grad)


@pytest.mark.usefixtures("doubled")
def test_another_attack_and_another_loss_are_seen(tmp_path):
    problem = tiny("resnet18_trades")
    ours, theirs = both(problem, tmp_path)
    theirs.step.budget = replace(theirs.step.budget, step=0.5 * theirs.step.budget.step)
    assert difference(problem, ours, theirs).largest > 1e-3
    ours, theirs = both(problem, tmp_path)
    theirs.step.beta = 5.9
    found = difference(problem, ours, theirs)
    assert found.largest < 1e-12
    assert found.update > 1e-4


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.variants) > 2])
def test_a_careful_textbook_has_gradients_of_trained_parameters_only(name, tmp_path):
    problem = tiny(name)
    problem = replace(problem, initial=problem.initial.float())
    ours = Ours(problem.trainer(Setting(), tmp_path))
    needed = {}
    for variant, arguments in problem.case.variants.items():
        step = opponent(problem, ours, variant, Setting()).step
        everything = list(step.model.parameters())
        trained = [p for group in step.optimizer.param_groups for p in group["params"]]
        needed[variant] = sum(p.numel() for p in everything if p.requires_grad)
        expected = trained if arguments["careful"] else everything
        assert needed[variant] == sum(p.numel() for p in expected)
    assert len(set(needed.values())) == 2


@pytest.mark.parametrize("name", CASES)
def test_the_strongest_form_asks_for_the_images_gradient_alone(name, tmp_path, monkeypatch):
    problem = tiny(name)
    problem = replace(problem, initial=problem.initial.float())
    ours = Ours(problem.trainer(Setting(), tmp_path))
    variant = list(problem.case.variants)[-1]
    assert variant == "input gradients"
    theirs = opponent(problem, ours, variant, Setting())
    assert theirs.step.input_gradients
    attacked = theirs.step.gradient

    def watched(*arguments):
        found = attacked(*arguments)
        assert all(parameter.grad is None for parameter in theirs.step.model.parameters())
        return found

    monkeypatch.setattr(theirs.step, "gradient", watched)
    theirs()
    plain = opponent(problem, ours, "textbook", Setting())
    plain()
    assert flops(theirs) < flops(plain)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_gives_each_epoch_in_our_order_with_and_without_workers(workers, tmp_path):
    problem = tiny("resnet18_at")
    theirs = opponent(problem, Ours(problem.trainer(Setting(), tmp_path)), "textbook", Setting())
    batches = theirs.batches(Orders(problem), workers=workers)
    order = iter(Orders(problem))
    for _ in range(3):
        pixels, labels = next(batches)
        expected = [next(order) for _ in range(problem.case.batch)]
        assert sorted(expected) == list(range(problem.case.batch))
        assert torch.equal(pixels, problem.pixels[expected].float() / 255)
        assert torch.equal(labels, problem.labels[expected])


def test_a_quick_batch_has_two_images_at_least():
    """Batch norm in training mode refuses one value a channel, and TWINS halves the batch."""
    assert set(QUICK_BATCHES) <= set(CASES)
    assert min(QUICK_BATCHES.values()) >= 2


def test_clips_texts_are_read_at_each_pass_or_once(tmp_path):
    problem = tiny("clip_pmg_aft")
    problem = replace(problem, initial=problem.initial.float())
    ours = Ours(problem.trainer(Setting(), tmp_path))
    counts = []
    for variant in list(problem.case.variants)[:2]:
        step: Any = opponent(problem, ours, variant, Setting()).step
        reads = []
        step.model.reader.tower.register_forward_hook(lambda *_, reads=reads: reads.append(1))
        Theirs(step, problem, "cpu")()
        counts.append(len(reads))
    assert counts == [2 + 2, 0]  # two steps of the attack, clean and adversarial images; the teacher reads its own


def test_the_recorded_attack_is_the_attack():
    x, moved = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 2, 2), 0.9)
    threat = Recorded("linf", ThreatModel.of({"norm": "linf", "eps": "1/8"}).eps)
    found = threat.project(moved, x)
    assert torch.equal(found, torch.full_like(x, 0.625))
    assert [tensor.tolist() for tensor in threat.iterates] == [found.tolist()]


def test_operations_are_counted_in_gradients_of_images_alone():
    layer = torch.nn.Linear(3, 5)
    x = torch.ones(2, 3, requires_grad=True)

    def images_alone() -> None:
        torch.autograd.grad(layer(x).sum(), x)

    def all_weights() -> None:
        layer(x).sum().backward()

    one = 2 * 2 * 3 * 5  # a product of (2, 3) and (3, 5), a multiplication and an addition being two
    layer.requires_grad_(False)
    assert flops(images_alone) == 2 * one
    layer.requires_grad_(True)
    assert flops(all_weights) == 3 * one


def test_the_operations_of_pgd_10_are_33_units_against_23(tmp_path):
    """Textbook: ten times forward, images and weights, and one training pass. The first layer has no input to reach."""
    problem = tiny("resnet18_at")
    problem = replace(problem, initial=problem.initial.float())
    ours, theirs = both(problem, tmp_path)
    ours(), theirs()
    ratio = flops(theirs) / flops(ours)
    assert math.isclose(ratio, 33 / 23, rel_tol=0.03)


@pytest.mark.parametrize("amp", [False, True])
def test_rows_say_what_was_compared(amp):
    problem = tiny("resnet18_at", steps=1)
    problem = replace(problem, initial=problem.initial.float())
    row, strongest = totals(problem, Setting(amp=amp), quick=True, peak=1e12)
    assert strongest.name == f"{row.name}: input gradients"
    assert (row.bar, strongest.bar) == (1.5, None)
    assert "x_adv" not in strongest.note
    assert "input gradients" in strongest.note
    assert row.predicted > strongest.predicted
    assert row.predicted > 1
    assert row.textbook.n == row.ours.n == row.ratio.n
    for part in ("batch 5", "1 thread", "bfloat16 autocast" if amp else "float32", "x_adv", "images a second", "% of"):
        assert part in row.note
    optimizations = single_optimizations(problem, Setting(amp=amp))
    expected = [*problem.case.optimizations, *([] if amp else ["bfloat16"])]
    assert [row.name.split(": ")[1] for row in optimizations] == expected
    assert all(row.predicted and row.bar is None for row in optimizations)
    assert all(("NOT THE SAME NUMBERS" in row.note) == row.name.endswith("bfloat16") for row in optimizations)


def test_an_unknown_case_is_refused():
    from benchmarks.training_step import rows

    with pytest.raises(ConfigError, match="did you mean 'resnet18_at'"):
        rows(quick=True, cases=["resnet18_att"])


def test_every_case_states_its_optimizations_and_a_first_form():
    for name, case in CASES.items():
        assert isinstance(case, Case)
        assert next(iter(case.variants)) == "textbook", name
        assert list(case.variants)[-1] == "input gradients", name
        assert case.bar == (1.5 if case.convolutional else 1.3), name
