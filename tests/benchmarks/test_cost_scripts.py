"""The cost scripts of benchmarks/: their counts match the configuration, and what they store can be read."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from robustft.config.load import load_document
from robustft.cost.machines import measured_machine
from robustft.files import ROOT, read_json

BACKBONES = load_document(ROOT / "config" / "backbones.yaml", "backbones").values["backbones"]


def script(name: str):
    """Import a script by its path; benchmarks/ is no package."""
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def passes():
    return script("passes")


@pytest.fixture(scope="module")
def observed():
    return script("observed")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_states_the_work_and_the_weights_that_are_counted(name, passes):
    counted = passes.counted(name, BACKBONES[name])
    assert BACKBONES[name]["gflop"] == pytest.approx(counted["gflop"], rel=0.005)  # three digits are written
    assert BACKBONES[name]["weights"] == counted["weights"]


def test_the_work_of_a_linear_layer_is_two_operations_for_each_weight(passes):
    # The patches' 48 x 96; four blocks of (4 + 4) 96^2, as the MLP is twice as wide, and attention; the head.
    width, tokens = 96, 65
    block = 2 * tokens * (4 + 4) * width**2 + 4 * tokens**2 * width
    expected = 2 * 64 * 48 * width + 4 * block + 2 * width * 10
    assert passes.counted("vit_cifar_small", BACKBONES["vit_cifar_small"])["gflop"] * 1e9 == pytest.approx(expected)


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_measurement_is_stored_read_and_laid_over_an_earlier_one(passes, tmp_path, monkeypatch):
    monkeypatch.setattr(passes, "REPEATS", 2)
    monkeypatch.setattr(passes, "BATCHES", (1, 4))
    monkeypatch.setattr(passes, "LEAST_S", 0.0)
    for name in ("resnet_digits", "vit_digits_patch4"):
        path = passes.stored(passes.benchmark([name], device="cpu", threads=1, limit_s=60), tmp_path)
    found = read_json(path)
    assert set(found["backbones"]) == {"resnet_digits", "vit_digits_patch4"}
    assert found["schema"] == "robustft-passes-1"
    times = found["backbones"]["resnet_digits"]["passes"]["float32"]
    assert all(times[kind]["image_us"] + times[kind]["call_us"] > 0 for kind in ("forward", "attack", "learn"))
    machine = measured_machine(found)
    assert machine.knows("resnet_digits")
    assert not machine.knows("clip_vit_b32")


@pytest.mark.usefixtures("torch_settings_restored")
def test_what_was_measured_is_kept_when_a_later_backbone_fails(passes, tmp_path, monkeypatch):
    """Everything was lost with it."""
    monkeypatch.setattr(passes, "REPEATS", 2)
    monkeypatch.setattr(passes, "BATCHES", (1, 4))
    monkeypatch.setattr(passes, "LEAST_S", 0.0)
    built = passes.built

    def broken(name, backbone, device):
        if (name, device) == ("resnet_v2_digits", "cpu"):
            raise RuntimeError("broken")
        return built(name, backbone, device)

    monkeypatch.setattr(passes, "built", broken)
    kept = []
    with pytest.raises(RuntimeError, match="broken"):
        passes.benchmark(["resnet_digits", "resnet_v2_digits"], device="cpu", threads=1, limit_s=60, keep=kept.append)
    assert [list(one["backbones"]) for one in kept] == [["resnet_digits"]]


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_backbone_that_would_take_too_long_is_left_out_with_the_reason(passes):
    found = passes.benchmark(["resnet_digits"], device="cpu", threads=1, limit_s=1e-6)
    assert found["backbones"] == {}
    assert found["left_out"] == {"resnet_digits": "it would take more than 0 s"}


def test_observed_over_predicted_by_hand(observed):
    found = observed.summary([(1.0, 2.0), (2.0, 3.0), (4.0, 4.0)])
    assert (found["steps"], found["predicted_s"], found["observed_s"]) == (3, 7.0, 9.0)
    assert found["ratio_quartiles"] == [1.0, 1.5, 2.0]
    assert found["ratio_range"] == [1.0, 2.0]


def test_the_first_step_of_a_process_is_not_compared(observed):
    def record(id, pid, started):
        spec = {"processes": 1, "method": {"implementation": "robustft.methods.standard:Standard"}}
        when = {"host": "h", "pid": pid, "started": started, "seconds": 5.0}
        return {"step": {"kind": "train", "id": id, "spec": spec}, "circumstances": when, "inputs": {}, "outputs": {}}

    class Free:
        def training_s(self, spec, backbones):
            return 2.0

    records = {
        "train:b": record("b", 1, "10:01"),
        "train:a": record("a", 1, "10:00"),
        "train:c": record("c", 2, "10:00"),
    }
    assert list(observed.compared(records, Free(), {})) == [("train standard:Standard", 2.0, 5.0)]


def test_a_dry_run_of_the_workflow_does_not_import_torch():
    found = script("dry_run").dry_run("smoke")
    assert found["status"] == 0, found
    assert found["torch_imported"] is False
    assert found["peak_mb"] > 0
