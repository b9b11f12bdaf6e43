"""Microseconds of a pass: measured, fitted, or stated as assumed."""

from __future__ import annotations

import pytest
import yaml

from robustft.cost.machines import machine_for, machines, measured_machine, stated_machine
from robustft.cost.passes import Passes, Work
from robustft.errors import ConfigError
from robustft.files import write_json

PASSES = {
    "forward": {"image_us": 1000.0, "call_us": 40.0},
    "attack": {"image_us": 2500.0, "call_us": 80.0},
    "learn": {"image_us": 3000.0, "call_us": 120.0},
}
BENCHMARK = {
    "machine": "box_1_thread",
    "title": "Box",
    "device": "cpu",
    "threads": 1,
    "torch": "2.0",
    "backbones": {
        "large": {"gflop": 0.1, "passes": {"float32": PASSES}},
        "small": {"gflop": 0.001, "passes": {"float32": {k: {"image_us": 90, "call_us": 1} for k in PASSES}}},
    },
}
STATED = {
    "title": "Board",
    "device": "cuda",
    "tflops": {"float32": 20.0, "bfloat16": 300.0},
    "utilisation": {"float32": 0.5, "bfloat16": 0.25},
    "source": "a data sheet",
}
WIDE = {"gflop": 0.1, "shape": [3, 32, 32], "parameters": {"width": 64}}
RESIZING = {"gflop": 0.1, "shape": [3, 32, 32], "parameters": {"image_size": 32}}


@pytest.fixture
def folder(tmp_path):
    document = {"default": "board", "machines": {"board": STATED, "other": {**STATED, "title": "Other"}}}
    (tmp_path / "machines.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    (tmp_path / "passes").mkdir()
    return tmp_path


def test_a_measured_backbone_takes_what_its_images_and_calls_take():
    machine = measured_machine(BENCHMARK)
    work = Work(Passes(forward=1, attack=10, learn=1), images=100, batch=20)
    found = machine.seconds(work, "large", WIDE, precision="float32", shape=[3, 32, 32])
    # Each image 1000 + 10 x 2500 + 3000 us; each of five batches 40 + 10 x 80 + 120 us.
    assert found == pytest.approx((100 * 29000 + 5 * 960) * 1e-6)


def test_others_are_fitted_to_the_large_backbones_by_the_median():
    machine = measured_machine(BENCHMARK)
    # 0.1 and 0.2 GFLOP in 1 and 2.5 ms: 100 and 80 GFLOP/s. The small backbone says nothing, nor does training.
    assert machine.gflops == {"float32": pytest.approx(90)}
    assert "90 GFLOP/s in float32 (80 to 100)" in machine.about
    found = machine.seconds(Work(Passes(attack=1), 10, 1), "new", WIDE, precision="float32", shape=[3, 32, 32])
    assert found == pytest.approx(10 * 2 * 0.1 / 90)


def test_a_longer_input_takes_longer_but_no_more_calls():
    machine = measured_machine(BENCHMARK)
    work = Work(Passes(forward=1), images=100, batch=20, size=1.5)
    found = machine.seconds(work, "large", WIDE, precision="float32", shape=[3, 32, 32])
    assert found == pytest.approx((100 * 1500 + 5 * 40) * 1e-6)


def test_the_work_of_a_convolutional_network_grows_with_the_area():
    machine, work = measured_machine(BENCHMARK), Work(Passes(forward=1), 1, 1e9)
    small = machine.seconds(work, "large", WIDE, precision="float32", shape=[3, 32, 32])
    assert machine.seconds(work, "large", WIDE, precision="float32", shape=[3, 64, 64]) == pytest.approx(4 * small)
    for parameters in ({"image_size": 32}, {"upsample": 224}):
        resizing = {**RESIZING, "parameters": parameters}
        assert machine.seconds(work, "large", resizing, precision="float32", shape=[3, 64, 64]) == pytest.approx(small)


def test_a_stated_machine_says_that_it_was_assumed():
    machine = stated_machine("board", STATED)
    assert not machine.measured
    assert machine.about.startswith(
        "assumed, not measured: 50% of 20 TFLOP/s in float32, 25% of 300 TFLOP/s in bfloat16"
    )
    assert "a data sheet" in machine.about
    work = Work(Passes(learn=1), images=1000, batch=10)
    assert machine.seconds(work, "new", WIDE, precision="float32", shape=[3, 32, 32]) == pytest.approx(300 / 10_000)
    assert machine.seconds(work, "new", WIDE, precision="bfloat16", shape=[3, 32, 32]) == pytest.approx(300 / 75_000)


def test_a_measurement_takes_over_from_what_was_assumed(folder):
    assert machine_for("cuda", folder=folder).name == "board"
    write_json(folder / "passes" / "gpu.json", {**BENCHMARK, "machine": "gpu", "device": "cuda"})
    found = machine_for("cuda", folder=folder)
    assert (found.name, found.measured) == ("gpu", True)
    assert machine_for("cuda", name="other", folder=folder).title == "Other"


def test_without_a_cpu_measured_the_assumed_machine_stands_in(folder):
    assert machine_for("cpu", folder=folder).name == "board"


def test_a_checkout_without_benchmarks_can_still_be_planned(tmp_path):
    found = machine_for("cuda", folder=tmp_path)
    assert (found.name, found.measured) == ("unknown", False)
    assert "assumed, not measured" in found.about


def test_an_unknown_machine_is_an_error_that_names_the_nearest(folder):
    with pytest.raises(ConfigError, match="bord") as error:
        machine_for("cuda", name="bord", folder=folder)
    assert "board" in str(error.value)


def test_what_is_stored_here_can_be_read():
    found = machines()
    assert any(machine.measured and machine.device == "cpu" for machine in found.values())
    assert machine_for("cuda").measured or "assumed, not measured" in machine_for("cuda").about
