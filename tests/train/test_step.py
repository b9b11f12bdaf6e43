from __future__ import annotations

import contextlib
import csv

import numpy as np
import pytest
import torch

from robustft.data.imagefile import save
from robustft.errors import ConfigError, IntegrityError
from robustft.methods.protocol import Tuned
from robustft.methods.standard import Standard
from robustft.methods.twins import TwinsAT
from robustft.models.checkpoint import load_classifier, read_checkpoint, save_checkpoint
from robustft.models.classifier import build_classifier
from robustft.models.tunings.protocol import Full
from robustft.models.two_wing_batch_norm import TwoWingBatchNorm2d
from robustft.runtime.context import Context
from robustft.train import step as module
from robustft.train.step import initial_model, start_of, train, write_history

from . import toy

ABOUT = {"backbone": toy.BACKBONE, "shape": [1, 8, 8], "classes": 3}


@pytest.fixture
def pretrained(tmp_path, tiny_model):
    """A checkpoint of another task (three classes) whose every tensor differs from a fresh network's."""
    path = tmp_path / "pretrained.safetensors"
    save_checkpoint(path, tiny_model(seed=9, classes=3, lived=True), about=ABOUT)
    return path


def starting(parts=None, *, runs=(), derivation=None, **rest):
    """A specification that starts from a pre-training (or parts of it), or from other runs."""
    initial = {"digests": ["-"], "from": list(runs), "parts": parts, "derivation": derivation}
    return toy.spec(initial=initial, **rest)


def test_fresh_weights_are_a_function_of_the_seed():
    one, same = initial_model(toy.spec(seed=1), {}), initial_model(toy.spec(seed=1), {})
    torch.rand(3)
    other = initial_model(toy.spec(seed=2), {})
    assert toy.content(one) == toy.content(same)
    assert toy.content(one) != toy.content(other)
    assert one.head.out_features == 5


def test_all_but_the_head_comes_from_the_initial_checkpoint(pretrained):
    fresh, source = initial_model(toy.spec(), {}), load_classifier(pretrained)[0].state_dict()
    for name, value in initial_model(starting(), {"initial": pretrained}).state_dict().items():
        expected = fresh.state_dict()[name] if name.startswith("head.") else source[name]
        assert torch.equal(value, expected), name
        assert name.startswith(("head.", "normalise.")) or not torch.equal(value, fresh.state_dict()[name]), name


def test_only_the_named_parts_come_from_the_initial_checkpoint(pretrained):
    fresh, source = initial_model(toy.spec(), {}).state_dict(), load_classifier(pretrained)[0].state_dict()
    found = initial_model(starting(["backbone.stem", "backbone.stages.1"]), {"initial": pretrained}).state_dict()
    arrived = {name for name in found if name.startswith(("backbone.stem.", "backbone.stages.1."))}
    assert 0 < len(arrived) < len(found) - 4
    for name, value in found.items():
        assert torch.equal(value, source[name] if name in arrived else fresh[name]), name


def test_a_part_that_the_pretrained_model_lacks_is_refused(pretrained):
    with pytest.raises(IntegrityError, match=r"missing: \['backbone.trunk'\]"):
        initial_model(starting(["backbone.stem", "backbone.trunk"]), {"initial": pretrained})


def test_an_initial_checkpoint_of_another_backbone_is_refused(pretrained):
    wider = {**toy.BACKBONE, "parameters": {"width": 8, "blocks": [1, 1]}}
    with pytest.raises(IntegrityError, match="does not fit the model"):
        initial_model(starting(backbone=wider), {"initial": pretrained})


def test_a_pretrained_module_that_the_model_lacks_is_refused_and_not_dropped(tmp_path, tiny_model):
    """All but the head means all: it is no licence to leave out whatever else the file holds."""
    model = tiny_model(seed=9, classes=3)
    model.adapter = torch.nn.Linear(2, 2)
    save_checkpoint(tmp_path / "more", model, about=ABOUT)
    with pytest.raises(IntegrityError, match=r"unexpected: \['adapter.bias', 'adapter.weight'\]"):
        initial_model(starting(), {"initial": tmp_path / "more"})
    assert initial_model(starting(["normalise", "backbone"]), {"initial": tmp_path / "more"})  # asked for by name


class Tower(torch.nn.Linear):
    """A head that reads texts: a logit for each, from what it learned in the pre-training."""

    transfers = True

    def __init__(self, in_features, *, classes, prompts):
        super().__init__(in_features, 2)
        self.lengths = torch.tensor([len(text) for text in prompts]).float()
        assert classes == len(prompts)

    def forward(self, x):
        return super().forward(x).sum(1, keepdim=True) * self.lengths


class Stranger(Tower):
    """The same head, but of a kind that does not transfer."""

    transfers = False


def texts(head, *prompts):
    """A backbone with such a head, and a data set of two classes with these prompts."""
    backbone = {**toy.BACKBONE, "head": {"implementation": f"{__name__}:{head}"}}
    return {"backbone": backbone, "dataset": {**toy.SPEC["dataset"], "classes": [0, 1], "prompts": list(prompts)}}


@pytest.mark.parametrize("head", ["Tower", "Stranger"])
def test_a_head_that_transfers_is_loaded_too_and_any_other_is_fresh(head, tmp_path):
    torch.manual_seed(3)
    spec = texts(head, "cat", "horse")
    source = build_classifier(spec["backbone"], shape=[1, 8, 8], classes=2, prompts=["cat", "horse"])
    about = {"backbone": spec["backbone"], "shape": [1, 8, 8], "classes": 2, "prompts": ["cat", "horse"]}
    save_checkpoint(tmp_path / "c", source, about=about)
    other = texts(head, "a", "car")  # another data set: its texts are read, whether or not the weights transfer
    model, fresh = initial_model(starting(**other), {"initial": tmp_path / "c"}), initial_model(toy.spec(**other), {})
    assert model.head.lengths.tolist() == [1.0, 3.0]
    assert torch.equal(model.backbone.stem[0].weight, source.backbone.stem[0].weight)
    expected = source if head == "Tower" else fresh
    assert torch.equal(model.head.weight, expected.head.weight)
    assert not torch.equal(fresh.head.weight, source.head.weight)


def averaged(models, *, shares):
    """A derivation: the weighted mean of some models' weights."""
    states, (first, *_) = [model.state_dict() for model in models], models
    mean = {name: sum(share * state[name] for share, state in zip(shares, states, strict=True)) for name in states[0]}
    first.load_state_dict(mean)
    return first


AVERAGED = {"implementation": f"{__name__}:averaged", "parameters": {"shares": [0.25, 0.75]}}


@pytest.fixture
def runs(tmp_path, tiny_model):
    """Checkpoints of two runs, by role."""
    paths = {f"from_{name}": tmp_path / name for name in ("zebra", "ant")}
    for seed, path in enumerate(paths.values()):
        save_checkpoint(path, tiny_model(seed=seed, lived=True), about={**ABOUT, "classes": 5})
    return paths


def test_a_run_may_start_from_what_a_derivation_makes_of_other_runs_in_their_order(runs):
    spec = starting(runs=["from_zebra", "from_ant"], derivation=AVERAGED)
    found = initial_model(spec, {"data": "-", **dict(sorted(runs.items()))}).state_dict()
    zebra, ant = (load_classifier(runs[f"from_{name}"])[0].state_dict() for name in ("zebra", "ant"))
    for name in ("backbone.stem.0.weight", "backbone.stem.1.running_var", "head.bias"):
        torch.testing.assert_close(found[name], 0.25 * zebra[name] + 0.75 * ant[name])


def test_a_run_may_start_from_another_run_head_included(runs):
    found = initial_model(starting(runs=["from_ant"]), runs)
    assert toy.content(found) == toy.content(load_classifier(runs["from_ant"])[0])


def test_the_pretrained_model_may_be_one_of_those_a_run_starts_from(runs, pretrained):
    found = initial_model(starting(runs=["initial"]), {"initial": pretrained})
    assert toy.content(found) == toy.content(load_classifier(pretrained)[0])  # a head of three classes


class Looking(Standard):
    """Needs the pre-trained model."""

    uses_source = True


def test_a_method_that_asks_for_it_sees_the_whole_pretrained_model_frozen(pretrained):
    train, more = toy.splits()["train"], toy.images(7, seed=8)
    spec = starting()
    start = start_of(spec, {"initial": pretrained}, Looking(), train, more)
    assert toy.content(start.source) == toy.content(load_classifier(pretrained)[0])  # its own head among it
    assert not any(parameter.requires_grad for parameter in start.source.parameters())
    assert not any(layer.training for layer in start.source.modules())
    tuned = start_of(spec, {"initial": pretrained}, Tuned(Looking(), Full()), train, more)
    assert tuned.source is not None


def test_a_method_that_does_not_ask_is_not_made_to_wait_for_it(pretrained):
    start = start_of(starting(), {"initial": pretrained}, Standard(), toy.splits()["train"], None)
    assert start.source is None


def test_a_method_that_needs_a_pretrained_model_says_so_where_there_is_none():
    spec = toy.spec(method={"name": "lwf", "implementation": "-", "parameters": {}, "tuning": None})
    with pytest.raises(ConfigError, match=r"(?s)'lwf' needs a pre-trained model.*a pretraining, not none"):
        start_of(spec, {}, Looking(), toy.splits()["train"], None)


def test_before_training_a_method_may_iterate_over_plain_images_again_and_again():
    train, more = toy.images(1030, seed=1), toy.images(7, seed=8)
    start = start_of(toy.spec(), {}, Standard(), train, more)
    for _ in range(2):
        for batches, images in ((list(start.target()), train), (list(start.auxiliary()), more)):
            x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
            assert torch.equal(x, images.pixels / 16)  # in [0, 1], in order, not augmented
            assert torch.equal(y, images.labels)
    assert [len(y) for _, y in start.target()] == [512, 512, 6]
    assert list(start_of(toy.spec(), {}, Standard(), train, None).auxiliary()) == []


@pytest.fixture
def data(tmp_path):
    parts = toy.splits()
    lengths = np.cumsum([0, *(len(images) for images in parts.values())])
    path = tmp_path / "data.safetensors"
    save(
        path,
        images=torch.cat([images.pixels for images in parts.values()]).numpy(),
        labels=torch.cat([images.labels for images in parts.values()]).numpy(),
        splits={
            f"toy/{name}": np.arange(first, last)
            for name, first, last in zip(parts, lengths[:-1], lengths[1:], strict=True)
        },
        about={"levels": 16, "datasets": {"toy": {"classes": [0, 1, 2, 3, 4]}}},
    )
    return path


METHOD = {
    "name": "twins_at",
    "implementation": "robustft.methods.twins:TwinsAT",
    "parameters": {"lambda_frozen": 1.0, "lambda_adaptive": 1.0},
    "tuning": None,
}


def step(spec, inputs, folder):
    """Run one train step in a folder of its own; return its outputs and what it learned about its circumstances."""
    folder.mkdir()
    outputs = {"checkpoint": folder / "checkpoint.safetensors", "history": folder / "history.csv"}
    context = Context(inputs=inputs, outputs=outputs, scratch=folder, log=lambda line: None)
    train({"scale": "toy", "device": "cpu", "threads": 1, "processes": 1, "optimizations": {}, **spec}, context)
    return outputs, context.facts


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_step_writes_an_ordinary_checkpoint_and_a_history_and_repeats_to_the_byte(data, pretrained, tmp_path):
    written = []
    for attempt in ("a", "b"):
        inputs = {"data": data, "initial": pretrained}
        outputs, facts = step(starting(method=METHOD), inputs, tmp_path / attempt)
        written.append([path.read_bytes() for path in outputs.values()])
        assert (facts["device"], facts["processes"]) == ("cpu", 1)
    assert written[0] == written[1]
    model, about = load_classifier(outputs["checkpoint"])
    assert not any(isinstance(module, TwoWingBatchNorm2d) for module in model.modules())
    assert about["classes"] == 5
    assert about["shape"] == [1, 8, 8]
    assert about["method"] == METHOD
    assert about["tuning"] is None
    with open(outputs["history"], newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "robust_validation", "gradient_norm/frozen", "relative_step/adaptive"} <= set(rows[0])
    trained = sum(parameter.numel() for parameter in TWINS.prepare(toy.network()).parameters())
    assert [int(row["trained_parameters"]) for row in rows] == [trained] * 2


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_step_reads_no_memory_that_it_has_not_written(data, pretrained, tmp_path, monkeypatch):
    """New memory is not filled, for speed. Filled with NaN, as torch does by itself, it gives the same bytes."""
    devices_for, written = module.devices_for, []

    @contextlib.contextmanager
    def filling(*arguments, **rest):
        with devices_for(*arguments, **rest) as devices:
            torch.utils.deterministic.fill_uninitialized_memory = True
            assert torch.empty(64).isnan().all()
            yield devices

    for folder, devices in (("not filled", devices_for), ("filled", filling)):
        monkeypatch.setattr(module, "devices_for", devices)
        outputs, _ = step(starting(method=METHOD), {"data": data, "initial": pretrained}, tmp_path / folder)
        written.append([path.read_bytes() for path in outputs.values()])
    assert written[0] == written[1]


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_step_of_two_processes_writes_what_one_process_would(data, pretrained, tmp_path):
    # Linear probing at eps 0, where neither batch statistics nor each process's own noise make a difference.
    probe = {"name": "probe", "implementation": "robustft.methods.linear_probe:LinearProbe", "parameters": {}}
    probe["tuning"] = None
    spec = starting(
        method=probe, threat={"norm": "linf", "eps": "0"}, recipe={"selection": "best_validation", "batch_size": 6}
    )
    inputs = {"data": data, "initial": pretrained}
    alone, one = step(spec, inputs, tmp_path / "alone")
    together, two = step({**spec, "processes": 2}, inputs, tmp_path / "together")
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["selected_epoch"] == two["selected_epoch"]
    expected, found = (load_classifier(outputs["checkpoint"])[0].state_dict() for outputs in (alone, together))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5, msg=name)
    assert len(together["history"].read_text().splitlines()) == 3


TWINS = TwinsAT(lambda_frozen=1.0, lambda_adaptive=1.0)


class StoppedError(Exception):
    """Raised in the place of training."""


@pytest.fixture
def handed(data, pretrained, tmp_path, monkeypatch):
    """Start a step and return what its trainer was given."""

    def start(spec, **inputs):
        found = {}

        def trainer(spec, **given):
            found.update(given)
            raise StoppedError

        monkeypatch.setattr(module, "Trainer", trainer)
        with pytest.raises(StoppedError):
            step(spec, {"data": data, "initial": pretrained, **inputs}, tmp_path / "stopped")
        return found

    return start


STANDARD = {
    "name": "standard",
    "implementation": "robustft.methods.standard:Standard",
    "parameters": {},
    "tuning": None,
}


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_method_trains_on_the_split_that_it_names(split, handed):
    splits = handed(toy.spec(method=STANDARD, split=split))["splits"]
    expected = {**toy.splits(), "train": toy.splits()[split]}
    assert set(splits) == set(expected)
    for role, images in expected.items():
        assert torch.equal(splits[role].pixels, images.pixels), role
        assert torch.equal(splits[role].labels, images.labels), role


@pytest.mark.usefixtures("torch_settings_restored")
def test_the_auxiliary_training_images_come_from_their_own_file(handed, tmp_path):
    other = toy.images(6, seed=20)
    save(
        tmp_path / "other",
        images=other.pixels.numpy(),
        labels=other.labels.numpy(),
        splits={"more/train": np.arange(4), "more/test": np.arange(4, 6)},
        about={"levels": 16, "datasets": {"more": {"classes": [0, 1, 2, 3, 4]}}},
    )
    given = handed(toy.spec(method=STANDARD, auxiliary={"name": "more"}), auxiliary=tmp_path / "other")
    assert torch.equal(given["auxiliary"].pixels, other.pixels[:4])
    x, y = next(given["start"].auxiliary())
    assert torch.equal(x, other.pixels[:4] / 16)
    assert y.tolist() == [0, 1, 2, 3]


@pytest.mark.usefixtures("torch_settings_restored")
def test_without_auxiliary_data_there_is_none(handed):
    assert handed(toy.spec(method=STANDARD))["auxiliary"] is None


class Scaled(Full):
    """A tuning that stays in the exported model: a scale on the logits, which alone is trained."""

    attached = True

    def prepare(self, model):
        if not hasattr(model, "scale"):
            model.requires_grad_(False).scale = torch.nn.Parameter(1 + torch.rand(5))
            model.head.register_forward_hook(lambda _, given, logits: logits * model.scale)
        return model


class Doubled(Scaled):
    """The same, but export folds it away."""

    attached = False

    def export(self, model):
        with torch.no_grad():
            model.head.weight *= model.scale[:, None]
            model.head.bias *= model.scale
        model.head._forward_hooks.clear()
        del model.scale
        return model


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize("tuning", ["Scaled", "Doubled"])
def test_a_tuned_run_stores_its_tuning_if_that_must_be_attached_before_loading(tuning, data, pretrained, tmp_path):
    described = {"implementation": f"{__name__}:{tuning}", "parameters": {}}
    spec = starting(method={**STANDARD, "tuning": described})
    outputs, _ = step(spec, {"data": data, "initial": pretrained}, tmp_path / "run")
    tensors, about = read_checkpoint(outputs["checkpoint"])
    model, _ = load_classifier(outputs["checkpoint"])
    assert about["tuning"] == (described if tuning == "Scaled" else None)
    assert ("scale" in tensors) == hasattr(model, "scale") == (tuning == "Scaled")
    with open(outputs["history"], newline="", encoding="utf-8") as stream:
        assert [row["trained_parameters"] for row in csv.DictReader(stream)] == ["5", "5"]
    # The run can be started from: its model comes with what is attached, and may be tuned again.
    again = initial_model(starting(runs=["from_run"]), {"from_run": outputs["checkpoint"]})
    assert toy.content(again) == toy.content(model)


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_checkpoint_of_a_head_that_reads_texts_stores_them(data, tmp_path):
    spec = texts("Tower", "a", "bb", "ccc", "d", "e")
    spec["dataset"]["classes"] = [0, 1, 2, 3, 4]
    outputs, _ = step(toy.spec(method=STANDARD, recipe={"lr": 1e-4}, **spec), {"data": data}, tmp_path / "run")
    model, about = load_classifier(outputs["checkpoint"])
    assert about["prompts"] == ["a", "bb", "ccc", "d", "e"]
    assert model.head.lengths.tolist() == [1.0, 2.0, 3.0, 1.0, 1.0]


def test_a_value_that_was_not_measured_in_an_epoch_is_empty(tmp_path):
    write_history(tmp_path / "h.csv", [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 0.5, "robust": 0.25}])
    # Floats are written so that they read back to the last bit.
    assert (tmp_path / "h.csv").read_text() == "epoch,loss,robust\n1,0.30000000000000004,\n2,0.5,0.25\n"
