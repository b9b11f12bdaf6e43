from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

from pipeline.context import Context
from pipeline.data.imagefile import save
from pipeline.errors import IntegrityError
from pipeline.models.checkpoint import load_classifier, save_checkpoint
from pipeline.models.two_wing import TwoWingBatchNorm2d
from pipeline.train.step import initial_model, train, write_history

from . import toy

ABOUT = {"backbone": toy.BACKBONE, "shape": [1, 8, 8], "classes": 3}


@pytest.fixture
def pretrained(tmp_path, tiny_model):
    """A checkpoint of another task (three classes) whose every tensor differs from a fresh network's."""
    path = tmp_path / "pretrained.safetensors"
    save_checkpoint(path, tiny_model(seed=9, classes=3, lived=True), about=ABOUT)
    return path


def test_fresh_weights_are_a_function_of_the_seed():
    one, same = initial_model(toy.spec(seed=1), None), initial_model(toy.spec(seed=1), None)
    torch.rand(3)
    other = initial_model(toy.spec(seed=2), None)
    assert toy.content(one) == toy.content(same)
    assert toy.content(one) != toy.content(other)
    assert one.head.out_features == 5


def test_all_but_the_head_comes_from_the_initial_checkpoint(pretrained):
    fresh, source = initial_model(toy.spec(), None), load_classifier(pretrained)[0].state_dict()
    for name, value in initial_model(toy.spec(), pretrained).state_dict().items():
        expected = fresh.state_dict()[name] if name.startswith("head.") else source[name]
        assert torch.equal(value, expected), name


def test_an_initial_checkpoint_of_another_backbone_is_refused(pretrained):
    wider = {**toy.BACKBONE, "parameters": {"width": 8, "blocks": [1, 1]}}
    with pytest.raises(IntegrityError, match="does not fit the model"):
        initial_model(toy.spec(backbone=wider), pretrained)


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
    "implementation": "pipeline.methods.twins:TwinsAT",
    "parameters": {"lambda_frozen": 1.0, "lambda_adaptive": 1.0},
}


def step(spec, inputs, folder):
    """Run one train step in a folder of its own; return its outputs and what it learned about its circumstances."""
    folder.mkdir()
    outputs = {"checkpoint": folder / "checkpoint.safetensors", "history": folder / "history.csv"}
    context = Context(inputs=inputs, outputs=outputs, scratch=folder, say=lambda line: None)
    train({"scale": "toy", "device": "cpu", "threads": 1, "processes": 1, **spec}, context)
    return outputs, context.facts


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_step_writes_an_ordinary_checkpoint_and_a_history_and_repeats_to_the_byte(data, pretrained, tmp_path):
    written = []
    for attempt in ("a", "b"):
        inputs = {"data": data, "initial": pretrained}
        outputs, facts = step(toy.spec(method=METHOD), inputs, tmp_path / attempt)
        written.append([path.read_bytes() for path in outputs.values()])
        assert (facts["device"], facts["processes"]) == ("cpu", 1)
    assert written[0] == written[1]
    model, about = load_classifier(outputs["checkpoint"])
    assert not any(isinstance(module, TwoWingBatchNorm2d) for module in model.modules())
    assert about["classes"] == 5
    assert about["shape"] == [1, 8, 8]
    assert about["method"] == METHOD
    with open(outputs["history"], newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "robust_validation", "gradient_norm/frozen", "relative_step/adaptive"} <= set(rows[0])


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_step_of_two_processes_writes_what_one_process_would(data, pretrained, tmp_path):
    # Linear probing at eps 0, where neither batch statistics nor each process's own noise make a difference.
    probe = {"name": "probe", "implementation": "pipeline.methods.linear_probe:LinearProbe", "parameters": {}}
    spec = toy.spec(
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


def test_a_value_that_was_not_measured_in_an_epoch_is_empty(tmp_path):
    write_history(tmp_path / "h.csv", [{"epoch": 1, "loss": 0.1 + 0.2}, {"epoch": 2, "loss": 0.5, "robust": 0.25}])
    # Floats are written so that they read back to the last bit.
    assert (tmp_path / "h.csv").read_text() == "epoch,loss,robust\n1,0.30000000000000004,\n2,0.5,0.25\n"
