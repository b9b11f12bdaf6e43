from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustft.errors import ConfigError, RobustftError
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.linear_probe import LinearProbe
from robustft.methods.protocol import Loss, PretrainingContext, Tuned, at_test
from robustft.methods.standard import Standard
from robustft.methods.trades import Trades
from robustft.methods.twins import TwinsAT, TwinsTrades
from robustft.models.classifier import Classifier, Normalise, build_classifier
from robustft.models.tunings.protocol import Partial
from robustft.speed.optimizations import Optimizations
from robustft.train import loop
from robustft.train.monitor import Monitor

from . import toy

TWINS_TRADES = TwinsTrades(lambda_frozen=0.5, lambda_adaptive=2.0, beta=6.0, attack_loss="kl", kl_over="wing")
AT = AdversarialTraining()


class KilledError(Exception):
    """Stands for the end of the process."""


class Killed:
    """A method whose process dies before it attacks a batch for the n-th time (from 0)."""

    def __init__(self, method, *, at: int) -> None:
        self.method, self.left = method, at

    def __getattr__(self, name: str):
        return getattr(self.method, name)

    def attack(self, *args, **kwargs):
        if self.left == 0:
            raise KilledError
        self.left -= 1
        return self.method.attack(*args, **kwargs)


class Drawing(AdversarialTraining):
    """Draws wherever a method may: which images are turned, the weight of each step's loss, its auxiliary images."""

    uses_auxiliary = True

    def prepare(self, model, start=None):
        model.head, model.weight = nn.Linear(model.head.in_features, 10), None
        return model

    def auxiliary_classes(self, model):
        return torch.tensor([0, 2, 3])

    def pretext(self, x, y, *, generator):
        turned = torch.randint(0, 2, y.shape, generator=generator)
        return torch.where(turned[:, None, None, None] == 1, x.rot90(2, (2, 3)), x), (y + turned) % 5

    def on_step_start(self, model, *, generator):
        model.weight = 0.5 + torch.rand(1, generator=generator).item()

    def loss(self, model, x, x_adv, y):
        return Loss({"weighed": model.weight * F.cross_entropy(model(x_adv), y)})


AUXILIARY = {"auxiliary": {"name": "more", "augmentation": {"pad": 0, "flip": True}}}


SETUPS = {
    "twins_trades": (TWINS_TRADES, {"selection": "best_validation"}, {}),
    "at": (AT, {"selection": "last"}, {}),
    "at_with_dropout": (AT, {"selection": "last"}, {"dropout": True}),
    "at_in_bfloat16": (AT, {"precision": "bfloat16", "optimizer": "adamw"}, {}),
    "drawing": (Drawing(), {"schedule": "cosine", "warmup_steps": 2, "clip_grad_norm": 0.5}, {}),
    "partial": (Tuned(AT, Partial(frozen=["backbone.stem"])), {"no_weight_decay": ["head"]}, {}),
}


def start(setup: str, folder, *, every: int = 1, killed_at: int | None = None) -> loop.Trainer:
    """A trainer as a fresh process would make it."""
    method, recipe, kind = SETUPS[setup]
    if killed_at is not None:
        method = Killed(method, at=killed_at)
    folder.mkdir(exist_ok=True)
    return toy.trainer(
        method,
        folder,
        spec=toy.spec(recipe=recipe, **AUXILIARY),
        model=toy.network(**kind),
        every=every,
        auxiliary=toy.images(13, seed=4),
    )


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """For each setup the weights, history and facts of a run without a stop."""
    found = {}
    for setup in SETUPS:
        trainer = start(setup, tmp_path_factory.mktemp(setup))
        history = trainer.run()
        found[setup] = toy.content(trainer.model), history, trainer.context.facts
    return found


@pytest.mark.parametrize("killed_at", range(6))  # three steps in each of two epochs
@pytest.mark.parametrize(
    ("setup", "every"),
    [("twins_trades", 1), ("twins_trades", 2), *((setup, 1) for setup in SETUPS if setup != "twins_trades")],
)
def test_a_run_killed_at_any_step_and_resumed_ends_with_the_same_bytes(
    setup, every, killed_at, uninterrupted, tmp_path
):
    weights, history, facts = uninterrupted[setup]
    with pytest.raises(KilledError):
        start(setup, tmp_path, every=every, killed_at=killed_at).run()
    resumed = start(setup, tmp_path, every=every)
    assert resumed.run() == history
    assert toy.content(resumed.model) == weights
    stored = {0: None, 1: 1 if every == 1 else None, 2: 2, 3: 3, 4: 4, 5: 5 if every == 1 else 4}[killed_at]
    taken = [piece["file"] for piece in resumed.context.facts.pop("taken_over", [])]
    assert taken == (["training.state"] if stored else [])
    assert resumed.context.facts == facts | ({"resumed_from_step": stored} if stored else {})


def test_a_run_killed_again_and_again_ends_with_the_same_bytes(uninterrupted, tmp_path):
    weights, history, _ = uninterrupted["twins_trades"]
    for _ in range(5):  # each life does one step and dies
        with pytest.raises(KilledError):
            start("twins_trades", tmp_path, killed_at=1).run()
    resumed = start("twins_trades", tmp_path)
    assert resumed.run() == history
    assert resumed.context.facts["resumed_from_step"] == 5
    assert toy.content(resumed.model) == weights


def test_a_run_killed_while_it_is_being_monitored_ends_with_the_same_bytes(uninterrupted, tmp_path, monkeypatch):
    weights, history, _ = uninterrupted["twins_trades"]

    def dies(self, model):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "measure", dies)
        with pytest.raises(KilledError):
            start("twins_trades", tmp_path).run()
    resumed = start("twins_trades", tmp_path)
    assert resumed.run() == history
    assert toy.content(resumed.model) == weights


def test_a_run_killed_after_its_last_step_trains_no_further(uninterrupted, tmp_path):
    weights, history, _ = uninterrupted["twins_trades"]
    start("twins_trades", tmp_path).run()
    again = start("twins_trades", tmp_path, killed_at=0)  # the first step would kill it
    assert again.run() == history
    assert toy.content(again.model) == weights


def test_a_damaged_resume_state_costs_the_work_and_nothing_else(uninterrupted, tmp_path):
    weights, history, _ = uninterrupted["at"]
    with pytest.raises(KilledError):
        start("at", tmp_path, killed_at=4).run()
    state = tmp_path / "training.state"
    data = bytearray(state.read_bytes())
    data[-100] ^= 1
    state.write_bytes(data)
    resumed = start("at", tmp_path)
    assert resumed.run() == history
    assert "resumed_from_step" not in resumed.context.facts
    assert toy.content(resumed.model) == weights


def test_a_model_that_comes_in_evaluation_mode_is_trained_all_the_same(uninterrupted, tmp_path):
    weights, history, _ = uninterrupted["at"]
    trainer = toy.trainer(AT, tmp_path, model=toy.network().eval())
    assert trainer.run() == history
    assert toy.content(trainer.model) == weights


def test_the_comparisons_above_can_fail(uninterrupted, tmp_path):
    # Another seed, and dropout, do change the bytes; and training does move the weights.
    other = toy.trainer(AT, tmp_path, spec=toy.spec(seed=1))
    before = toy.content(other.model)
    other.run()
    assert toy.content(other.model) != uninterrupted["at"][0]
    assert toy.content(other.model) != before
    plain, dropped = (list(uninterrupted[setup][0].values()) for setup in ("at", "at_with_dropout"))
    assert plain != dropped


def scripted(monkeypatch, rows: list[dict[str, float]]) -> list[dict[str, bytes]]:
    """Let the monitor report these rows, one each time; return the weights that it was shown, as it is shown them."""
    shown: list[dict[str, bytes]] = []
    script: Iterator[dict[str, float]] = iter(rows)

    def measure(self, model):
        shown.append(toy.content(model))
        return next(script)

    monkeypatch.setattr(Monitor, "measure", measure)
    return shown


def row(robust: float, clean: float, test: float = 0.0) -> dict[str, float]:
    return {"robust_validation": robust, "clean_validation": clean, "robust_test": test, "clean_test": test}


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([row(0.3, 0.5), row(0.9, 0.5), row(0.5, 0.9)], 2),  # the most robust
        ([row(0.5, 0.5), row(0.5, 0.7), row(0.5, 0.6)], 2),  # of equally robust ones the most accurate
        ([row(0.5, 0.5), row(0.5, 0.5), row(0.5, 0.5)], 1),  # of equals the first
        ([row(0.9, 0.5, test=0.1), row(0.3, 0.5, test=0.9), row(0.3, 0.5, test=1.0)], 1),  # test is only watched
    ],
)
def test_best_validation_keeps_the_weights_of_the_best_epoch(rows, best, monkeypatch, tmp_path):
    shown = scripted(monkeypatch, rows)
    trainer = toy.trainer(AT, tmp_path, spec=toy.spec(recipe={"selection": "best_validation", "epochs": 3}))
    history = trainer.run()
    assert len(shown) == len(history) == 3
    assert len({tuple(weights.values()) for weights in shown}) == 3  # each epoch had weights of its own
    assert toy.content(trainer.model) == shown[best - 1]
    assert trainer.context.facts["selected_epoch"] == best


def test_last_keeps_the_last_weights_whatever_validation_says(monkeypatch, tmp_path):
    shown = scripted(monkeypatch, [row(0.9, 0.9), row(0.1, 0.1)])
    trainer = toy.trainer(AT, tmp_path, spec=toy.spec(recipe={"selection": "last"}))
    trainer.run()
    assert toy.content(trainer.model) == shown[-1]
    assert "selected_epoch" not in trainer.context.facts


class Broken(Standard):
    """Standard training whose loss becomes `value` at step 4."""

    def __init__(self, value: float) -> None:
        self.value, self.step = value, 0

    def loss(self, model, x, x_adv, y):
        self.step += 1
        terms = super().loss(model, x, x_adv, y).terms
        return Loss({**terms, "extra": torch.tensor(self.value if self.step == 5 else 0.0)})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_says_where(value, tmp_path):
    trainer = toy.trainer(Broken(value), tmp_path)
    with pytest.raises(RobustftError, match=r"(?s)toy, seed 0, is -?(nan|inf).*step 4"):
        trainer.run()
    # What was stored last is from before, so a run with a better setting need not start again from damaged weights.
    resumed = toy.trainer(Standard(), tmp_path)
    resumed.run()
    assert resumed.context.facts["resumed_from_step"] == 4


def test_history_is_the_mean_over_the_epochs_steps(tmp_path):
    # Nothing moves (learning rate 0, eps 0, the probe's backbone keeps its statistics) and nothing is augmented, so
    # an epoch's loss is the mean over its batches (4, 4 and 3 images) of the mean cross-entropy of the fixed model.
    spec = toy.spec(
        recipe={"lr": 0.0},
        threat={"norm": "linf", "eps": "0"},
        dataset={**toy.SPEC["dataset"], "augmentation": {"pad": 0, "flip": False}},
    )
    trainer = toy.trainer(LinearProbe(), tmp_path, spec=spec)
    history = trainer.run()
    assert [(line["epoch"], line["step"], line["lr"]) for line in history] == [(1, 3, 0.0), (2, 6, 0.0)]
    model = toy.network().eval()
    norm = torch.cat([p.flatten() for p in model.parameters() if p.dim() == 4]).norm().item()
    for epoch, line in enumerate(history):
        batches = [trainer.batches.get(epoch, position) for position in range(3)]
        with torch.no_grad():
            losses = [F.cross_entropy(model(x), y).item() for x, y in batches]
        assert line["loss"] == pytest.approx(sum(losses) / 3, rel=1e-6)
        assert line["term/cross_entropy"] == line["loss"]
        assert line["weight_norm"] == pytest.approx(norm, rel=1e-6)
        assert line["weight_distance"] == 0.0
        assert not [name for name in line if name.startswith("gradient_norm")]  # no convolution is trained


def test_the_learning_rate_of_the_schedule_is_used_and_recorded(tmp_path):
    history = toy.trainer(AT, tmp_path).run()
    assert [line["lr"] for line in history] == pytest.approx([0.05, 0.005])  # gamma 0.1 at epoch 1


def test_the_monitor_runs_every_so_many_epochs_and_after_the_last(tmp_path):
    spec = toy.spec(recipe={"epochs": 5}, monitor={**toy.SPEC["monitor"], "every_epochs": 2})
    history = toy.trainer(Standard(), tmp_path, spec=spec).run()
    assert [line["epoch"] for line in history if "robust_validation" in line] == [2, 4, 5]
    names = {f"{kind}_{split}" for kind in ("clean", "robust") for split in ("train", "validation", "test")}
    assert names <= set(history[-1])


@pytest.mark.parametrize(
    ("wanted", "steps"), [(0, []), (1, [5, 11]), (2, [2, 5, 8, 11]), (4, [1, 2, 4, 5, 7, 8, 10, 11]), (9, [*range(12)])]
)
def test_diagnostics_are_taken_at_evenly_spaced_steps_the_last_of_the_epoch_among_them(
    wanted, steps, tmp_path, monkeypatch
):
    taken = []
    trainer = toy.trainer(Standard(), tmp_path, spec=toy.spec(diagnostics={"steps_per_epoch": wanted}), train=24)
    monkeypatch.setattr(loop, "gradient_diagnostics", lambda model, loss: taken.append(trainer.train_state.step) or {})
    trainer.run()
    assert taken == steps


def test_diagnostics_do_not_change_the_training(tmp_path):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    watched = toy.trainer(TWINS_TRADES, tmp_path / "with", spec=toy.spec(diagnostics={"steps_per_epoch": 3}))
    plain = toy.trainer(TWINS_TRADES, tmp_path / "without", spec=toy.spec(diagnostics={"steps_per_epoch": 0}))
    rows, bare = watched.run(), plain.run()
    assert toy.content(watched.model) == toy.content(plain.model)
    assert {"gradient_norm/frozen", "cosine/adaptive", "relative_step/adaptive"} <= set(rows[0])
    assert not [name for name in bare[0] if name.startswith(("gradient_norm", "cosine"))]


class Recording:
    """A method that keeps what each step gave it."""

    def __init__(self, method) -> None:
        self.method, self.steps, self.order = method, [], []

    def __getattr__(self, name: str):
        return getattr(self.method, name)

    def pretext(self, x, y, *, generator):
        found = self.method.pretext(x, y, generator=generator)
        self.order.append("pretext")
        return found

    def on_step_start(self, model, *, generator):
        self.order.append("begin")
        self.method.on_step_start(model, generator=generator)

    def attack(self, model, x, y, *, budget, generator):
        self.order.append("perturb")
        self.steps.append((x.clone(), y.clone(), budget.epoch, getattr(model, "weight", None), model.training))
        return self.method.attack(model, x, y, budget=budget, generator=generator)


def recorded(method, folder, *, seed: int = 0, **parts) -> Recording:
    """Train by a method and return what it was given; the monitor's own calls are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    recording = Recording(method)
    spec = toy.spec(seed=seed, **AUXILIARY, **parts)
    trainer = toy.trainer(recording, folder, spec=spec, auxiliary=toy.images(13, seed=4))
    trainer.monitor.measure = lambda model: row(0.5, 0.5)
    recording.order.clear()
    trainer.run()
    return recording


def test_each_step_begins_anew_before_its_attack_and_knows_how_far_training_is(tmp_path):
    found = recorded(Drawing(), tmp_path)
    assert found.order == ["pretext", "begin", "perturb"] * 6
    assert [epoch for _, _, epoch, *_ in found.steps] == pytest.approx([0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3])
    weights = [weight for *_, weight, _ in found.steps]
    assert len(set(weights)) == 6
    assert all(0.5 <= weight < 1.5 for weight in weights)
    assert all(training for *_, training in found.steps)


class Averaging(Standard):
    """Exports the moving average of the weights, which each step renews before it begins."""

    steps: ClassVar[int] = 0

    def prepare(self, model, start=None):
        model.average = copy.deepcopy(model).requires_grad_(False)
        return model

    def on_step_start(self, model, *, generator):
        type(self).steps += 1
        for name, value in model.average.state_dict().items():
            value.copy_(torch.lerp(value.double(), model.state_dict()[name].double(), 0.3).to(value.dtype))

    def export(self, model):
        return model.average


@pytest.mark.parametrize("selection", ["last", "best_validation"])
def test_history_and_selection_are_of_the_exported_model(tmp_path, selection):
    """They were of the model in training, and the monitor began a step of its own, which moved the average."""
    Averaging.steps = 0
    recipe = {"selection": selection, "lr": 0.1, "epochs": 4, "schedule": "constant", "milestones": []}
    trainer = toy.trainer(Averaging(), tmp_path, spec=toy.spec(recipe=recipe))
    rows = trainer.run()
    kept = rows[trainer.context.facts.get("selected_epoch", 4) - 1]
    watch = Monitor(trainer.spec["monitor"], threat=trainer.spec["threat"], splits=toy.splits(), seed=0)
    with at_test(Averaging(), trainer.model) as tested:
        found = watch.measure(tested)
    assert found == {name: kept[name] for name in found}
    assert watch.measure(trainer.model) != found
    assert Averaging.steps == 4 * 3
    scores = [(row["robust_validation"], row["clean_validation"]) for row in rows]
    assert (kept["robust_validation"], kept["clean_validation"]) == (scores[-1] if selection == "last" else max(scores))


def test_what_pretext_and_begin_draw_is_a_function_of_the_seed_and_the_step(tmp_path):
    first = recorded(Drawing(), tmp_path / "a").steps
    torch.rand(3)
    again, other = recorded(Drawing(), tmp_path / "b").steps, recorded(Drawing(), tmp_path / "c", seed=1).steps
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
        assert one[2:] == two[2:]
    assert {weight for *_, weight, _ in first}.isdisjoint(weight for *_, weight, _ in other)


@dataclass(frozen=True)
class Flipping(AdversarialTraining):
    """A pretext that draws one number a step and writes it into every image."""

    def pretext(self, x, y, *, generator):
        return torch.full_like(x, torch.rand(1, generator=generator).item()), y


def test_the_draws_of_a_pretext_differ_from_step_to_step(tmp_path):
    numbers = [x.unique().tolist() for x, *_ in recorded(Flipping(), tmp_path).steps]
    assert [len(number) for number in numbers] == [1] * 6
    assert len({number for (number,) in numbers}) == 6


def pairs(x: torch.Tensor, y: torch.Tensor) -> set[tuple[bytes, int]]:
    return {(image.numpy().tobytes(), int(label)) for image, label in zip(x, y, strict=True)}


def test_each_batch_holds_as_many_auxiliary_images_after_the_targets_own(tmp_path):
    x, y = toy.images(13, seed=4).take(slice(None))
    plain_or_mirrored = pairs(x, y) | pairs(x.flip(3), y)
    for x, y, *_ in recorded(Drawing(), tmp_path).steps:
        half = len(y) // 2
        assert len(x) == len(y) in (6, 8)
        assert y[:half].max() < 5  # labels of the target, as the pretext left them
        assert set((y[half:] - 5).tolist()) <= {0, 2, 3}  # the chosen classes, counted on
        assert pairs(x[half:], y[half:] - 5) <= plain_or_mirrored


def test_within_a_pass_no_auxiliary_image_is_taken_twice(tmp_path):
    """Eleven target images make batches of 4, 4 and 3, so an epoch takes 11 of 13 auxiliary images, each once."""

    class All(Drawing):
        def auxiliary_classes(self, model):
            return None

    plain = {"auxiliary": {"name": "more", "augmentation": {"pad": 0, "flip": False}}}
    recording = Recording(All())
    trainer = toy.trainer(
        recording, tmp_path, spec=toy.spec(recipe={"epochs": 1}, **plain), auxiliary=toy.images(13, seed=4)
    )
    trainer.run()
    taken = [image.numpy().tobytes() for x, *_ in recording.steps for image in x[len(x) // 2 :]]
    assert len(taken) == 11
    assert len(set(taken)) == 11


def test_a_method_that_needs_auxiliary_data_says_so_where_there_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)'toy' needs an auxiliary data set.*`auxiliary` of the experiment"):
        toy.trainer(Drawing(), tmp_path)


def test_a_method_that_uses_no_auxiliary_data_gets_none(tmp_path):
    found = recorded(AT, tmp_path)
    assert [len(y) for _, y, *_ in found.steps] == [4, 4, 3, 4, 4, 3]


def test_a_method_may_look_at_the_start_when_it_prepares_the_model(tmp_path):
    class Starting(Standard):
        def prepare(self, model, start=None):
            model.seen = start
            return model

    start = PretrainingContext(source=toy.network(seed=9))
    trainer = loop.Trainer(
        toy.spec(),
        method=Starting(),
        model=toy.network(),
        splits=toy.splits(),
        context=toy.context(tmp_path),
        start=start,
    )
    assert trainer.model.seen is start


def gradients(trainer: loop.Trainer) -> list[float]:
    """Train, and return the norm of the gradient that each step of the optimiser was given."""
    norms, step = [], trainer.optimizer.step

    def noted():
        norms.append(torch.cat([p.grad.flatten() for p in trainer.model.parameters()]).norm().item())
        step()

    trainer.optimizer.step = noted
    trainer.run()
    return norms


def test_a_gradient_longer_than_the_limit_is_cut_to_it_and_a_shorter_one_is_left(tmp_path):
    norms = {}
    for limit in (None, 0.1, 1e6):
        (tmp_path / str(limit)).mkdir()
        recipe = {"clip_grad_norm": limit} if limit else {}
        norms[limit] = gradients(toy.trainer(AT, tmp_path / str(limit), spec=toy.spec(recipe=recipe)))
    assert min(norms[None]) > 0.2  # else cutting at 0.1 would say little
    assert norms[0.1] == pytest.approx([0.1] * 6, rel=1e-4)
    assert norms[1e6] == norms[None]


def test_the_schedule_sets_the_rate_of_the_parameters_without_weight_decay_too(tmp_path):
    recipe = {"no_weight_decay": ["head"], "lr": 0.2, "schedule": "constant", "warmup_steps": 12}
    trainer = toy.trainer(AT, tmp_path, spec=toy.spec(recipe=recipe))
    trainer.run()
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx([0.1, 0.1])  # 6 steps of 12
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.01, 0.0]


@pytest.mark.parametrize(
    ("method", "count"),
    [
        (AT, sum(parameter.numel() for parameter in toy.network().parameters())),
        (LinearProbe(), 8 * 5 + 5),
        (Tuned(AT, Partial(frozen=["backbone"])), 8 * 5 + 5),
        (Drawing(), sum(parameter.numel() for parameter in toy.network().parameters()) + 8 * 5 + 5),
    ],
    ids=["at", "probe", "partial", "wider head"],
)
def test_the_history_counts_the_parameters_that_are_trained(method, count, tmp_path):
    history = toy.trainer(method, tmp_path, spec=toy.spec(**AUXILIARY), auxiliary=toy.images(13, seed=4)).run()
    assert [line["trained_parameters"] for line in history] == [count, count]


def test_what_a_tuning_freezes_keeps_weights_and_statistics_and_comes_back_under_its_own_name(tmp_path):
    method, before = Tuned(AT, Partial(frozen=["backbone.stem"])), toy.content(toy.network())
    trainer = toy.trainer(method, tmp_path)
    trainer.run()
    after = toy.content(method.export(trainer.model))
    assert list(after) == list(before)
    kept = {name for name in before if after[name] == before[name]}
    assert kept == {name for name in before if name.startswith(("backbone.stem.", "normalise."))}


class Flat(nn.Module):
    """Images, one or several of each, as one vector: a model without convolutions."""

    def forward(self, x):
        return x.flatten(1)


def plain_model(inputs: int, outputs: int, *shape: int) -> Classifier:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(inputs, outputs), nn.Unflatten(1, shape or (outputs,)))
    return Classifier(Normalise([0.3], [0.4]), Flat(), head)


def test_a_model_without_convolutions_is_trained_and_has_no_diagnostics(tmp_path):
    history = toy.trainer(AT, tmp_path, model=plain_model(64, 5)).run()
    assert not [name for name in history[0] if name.startswith(("gradient", "cosine", "relative"))]
    assert (history[0]["weight_norm"], history[0]["weight_distance"]) == (0.0, 0.0)
    assert history[1]["loss"] < history[0]["loss"]


class Pairs(AdversarialTraining):
    """A pretext of two views of each image and two targets: which class, and which class the next image has."""

    def pretext(self, x, y, *, generator):
        return torch.stack([x, x.flip(3)], dim=1), torch.stack([y, y.roll(1)], dim=1)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_pretext_may_give_several_images_and_several_targets_for_each_image(channels_last, tmp_path):
    spec = toy.spec(optimizations={"channels_last": channels_last})
    recording = Recording(Pairs())
    trainer = toy.trainer(recording, tmp_path, spec=spec, model=plain_model(128, 10, 5, 2))
    history = trainer.run()
    assert [tuple(x.shape) + tuple(y.shape) for x, y, *_ in recording.steps[:3]] == [
        (4, 2, 1, 8, 8, 4, 2),
        (4, 2, 1, 8, 8, 4, 2),
        (3, 2, 1, 8, 8, 3, 2),
    ]
    assert 0 < history[-1]["clean_train"] <= 1


def trained(method, folder, name: str, *, optimizations=None, **recipe) -> dict[str, torch.Tensor]:
    (folder / name).mkdir()
    # A whole epoch at one rate: three steps, so that the difference stays that of the arithmetic.
    spec = toy.spec(recipe={"epochs": 1, "milestones": [9], **recipe}, optimizations=optimizations or {})
    trainer = toy.trainer(method, folder / name, spec=spec)
    trainer.run()
    return copy.deepcopy(trainer.model.state_dict())


METHODS = [AT, Trades(beta=6.0, attack_loss="kl"), TwinsAT(lambda_frozen=1.0, lambda_adaptive=1.0), TWINS_TRADES]


# settled_images is no part of training: tests/speed/test_settled_images.py.
OFF = {name: {name: False} for name in dataclasses.asdict(Optimizations()) if name != "settled_images"}
OFF["all"] = dict.fromkeys(OFF, False)


@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_an_optimization_changes_nothing_but_rounding(method, off, tmp_path):
    on = trained(method, tmp_path, "on")
    plain = trained(method, tmp_path, "plain", optimizations=OFF[off])
    for name, value in plain.items():
        # Three steps of float32 sums taken in another order; a different step would differ by lr x gradient, 1e-2.
        torch.testing.assert_close(on[name].contiguous(), value.contiguous(), rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("on", [True, False])
def test_channels_last_is_not_merely_accepted(on, tmp_path):
    # Wide enough for its strided shortcut (see `memory_format`).
    backbone = {**toy.BACKBONE, "parameters": {"width": 16, "blocks": [1, 1]}}
    model = build_classifier(backbone, shape=[1, 8, 8], classes=5)
    trainer = toy.trainer(AT, tmp_path, spec=toy.spec(optimizations={"channels_last": on}), model=model)
    trainer.run()
    filters = [value for value in trainer.model.state_dict().values() if value.dim() == 4 and min(value.shape[1:]) > 1]
    assert filters
    assert all(value.is_contiguous(memory_format=torch.channels_last) is on for value in filters)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_bfloat16_changes_the_result_only_within_its_precision(method, tmp_path):
    plain, other = trained(method, tmp_path, "plain"), trained(method, tmp_path, "other", precision="bfloat16")
    start = method.prepare(toy.network()).state_dict()
    gap = distance = 0.0
    for name, value in plain.items():
        assert other[name].dtype == value.dtype  # weights and statistics stay float32
        if not value.is_floating_point() or name.startswith("normalise"):
            continue
        if "frozen.running" in name:
            assert torch.equal(other[name], start[name])
            continue
        # Every tensor is trained (a cast that is cached without its graph would leave it where it was).
        assert not torch.equal(other[name], start[name]), name
        gap += (other[name] - value).square().sum().item()
        distance += (value - start[name]).square().sum().item()
    # Not the same, but most of the way the same way: bfloat16 keeps 8 bits, and the signs of small input gradients
    # flip in the attack. Unrelated steps of equal length would give sqrt 2, opposite ones 2.
    assert 0 < math.sqrt(gap / distance) < 0.5
