"""Every method, tuning and backbone on the pretend GPU: two steps, the end of an epoch, save, resume."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch

from benchmarks.every_training import Training, kinds
from robustft.data import batches
from robustft.data.imagefile import save
from robustft.models import classifier
from robustft.models.checkpoint import read_checkpoint
from robustft.runtime.context import Context
from robustft.runtime.device import devices_for
from robustft.train import loop
from robustft.train.step import train
from tests.pretend_gpu.device import GpuTensor, MixedDevicesError, NotRepeatableError, pretend_gpu
from tests.train import toy

DEMO = kinds("demo", by="classes")
ELSEWHERE = {
    f"{scale} {name}": spec
    for scale, by in (("demo", "parameters"), ("small", "parameters"), ("paper", "classes"))
    for name, spec in kinds(scale, by=by).items()
}

WAITS_IN_A_STEP = 4
"""Of the host for the GPU, at most: HyperAT's name of the defence, the places of joint fine-tuning's two tasks."""

AT = ("adversarial_training:AdversarialTraining", {})
TRADES = ("trades:Trades", {"beta": 6.0, "attack_loss": "kl"})
TWINS = ("twins:TwinsAT", {"lambda_frozen": 1.0, "lambda_adaptive": 1.0})


def trained(spec, folder, *, batch):
    with pretend_gpu() as gpu, devices_for("cuda", count=1, threads=1, log=lambda _: None) as (device,):
        first = Training(spec, device, folder, batch=batch)
        first.step(0)
        first.trainer._diagnosed = lambda _: False  # diagnostics are read at once, by design
        gpu.reset()
        first.step(1)
        waits = dict(gpu.waits)
        assert sum(waits.values()) <= WAITS_IN_A_STEP, waits
        first.end()
        Training(spec, device, folder, batch=batch).resumed(first)


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize("kind", DEMO)
def test_a_training_of_scale_demo(kind, tmp_path):
    trained(DEMO[kind], tmp_path, batch=4)


@pytest.mark.hpc
@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize("kind", ELSEWHERE)
def test_a_training_of_other_parameters_or_of_a_larger_scale(kind, tmp_path):
    trained(ELSEWHERE[kind], tmp_path, batch=2)


# -- whole steps -------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path):
    images = toy.images(60, seed=1)
    save(
        tmp_path / "data",
        images=images.pixels.numpy(),
        labels=images.labels.numpy(),
        splits={f"toy/{part}": np.arange(*ends) for part, ends in PARTS.items()},
        about={"levels": 16, "datasets": {"toy": {"classes": [0, 1, 2, 3, 4]}}},
    )
    return tmp_path / "data"


PARTS = {"train": (0, 20), "validation": (20, 28), "test": (28, 36)}


def whole(device, data, folder, method, **recipe):
    """Run a `train` step and return its weights and history."""
    folder.mkdir()
    implementation, parameters = method
    method = {"name": "m", "implementation": f"robustft.methods.{implementation}", "parameters": parameters}
    spec = toy.spec(recipe=recipe, optimizations={"channels_last": False}, method={**method, "tuning": None})
    outputs = {"checkpoint": folder / "c", "history": folder / "h"}
    context = Context({"data": data}, outputs, folder, settings={"save_every_steps": 1}, log=lambda _: None)
    train({**spec, "device": device, "threads": 1, "processes": 1, "scale": "toy"}, context)
    return read_checkpoint(folder / "c")[0], (folder / "h").read_text()


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize(
    ("method", "recipe"),
    [
        (AT, {}),
        (TRADES, {}),
        (TWINS, {}),
        (AT, {"precision": "bfloat16"}),
        (AT, {"optimizer": "adamw", "clip_grad_norm": 1.0, "selection": "best_validation"}),
    ],
    ids=["at", "trades", "twins", "bfloat16", "adamw"],
)
def test_a_whole_training_has_the_bytes_of_the_cpu(data, tmp_path, method, recipe):
    on_cpu = whole("cpu", data, tmp_path / "cpu", method, **recipe)
    with pretend_gpu():
        on_gpu = whole("cuda", data, tmp_path / "gpu", method, **recipe)
    assert on_cpu[1] == on_gpu[1]
    assert all(torch.equal(tensor, on_gpu[0][name]) for name, tensor in on_cpu[0].items())


# -- planted faults ----------------------------------------------------------------------------------------------------


class Unregistered(classifier.Normalise):
    """Whose constants no `to` moves."""

    def __init__(self, mean, std):
        torch.nn.Module.__init__(self)
        self.mean, self.std = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))


def on_the_host(self, index):
    return self.pixels[index].float().div_(self.levels), self.labels[index].cpu()


draws = loop.generator
FAULTS = {
    "draws of the CPU": (loop, "generator", lambda device, *key: draws("cpu", *key), MixedDevicesError),
    "an unregistered buffer": (classifier, "Normalise", Unregistered, MixedDevicesError),
    "labels left on the host": (batches.Images, "take", on_the_host, MixedDevicesError),
    "numpy of a GPU's tensor": (loop.Trainer, "_note", lambda self: str(self.batches._order[1].numpy()), TypeError),
}


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(data, tmp_path, fault):
    place, name, replacement, error = FAULTS[fault]
    with mock.patch.object(place, name, replacement), pretend_gpu(), pytest.raises(error):
        whole("cuda", data, tmp_path / "gpu", AT)


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_kernel_that_is_not_repeatable_is_caught_and_a_mask_is_counted():
    with pretend_gpu() as gpu:
        x = torch.rand(1, 1, 4, 4).to("cuda").requires_grad_()
        assert isinstance(x, GpuTensor)
        torch.use_deterministic_algorithms(True)
        resized = torch.nn.functional.interpolate(x, (8, 8), mode="bicubic")
        with pytest.raises(NotRepeatableError, match="upsample_bicubic2d_backward"):
            resized.sum().backward()
        assert not gpu.waits
        assert len(x.detach()[x.detach() > 2]) == 0
        assert sum(gpu.waits.values()) == 1
