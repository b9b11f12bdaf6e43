"""The time of a pass on a machine: measured, or computed from its work and the throughput of the machine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from robustft.config.load import load_document
from robustft.cost.passes import FLOPS, Work, attack_work, token_factor, training_work
from robustft.errors import lookup
from robustft.files import ROOT, read_json

BENCHMARKS = ROOT / "benchmarks"

UNMEASURED = {"gflop": 1.8, "weights": 11_700_000}
"""What is planned with for a backbone that says nothing: ResNet-18 at 224 pixels."""

LARGE_GFLOP = 0.1
"""Arithmetic limits backbones of at least this size. The overhead of calls limits smaller ones; no fit uses them."""


@dataclass(frozen=True)
class Machine:
    """One device: a CPU with a number of threads, or a GPU.

    gflops: throughput in GFLOP/s by precision, for backbones without a measurement.
    backbones: measurements of benchmarks/passes.py by name: {gflop, passes: {precision: {kind: {call_us, image_us}}}}.
    """

    name: str
    title: str
    device: str
    gflops: dict[str, float]
    about: str
    measured: bool
    backbones: dict[str, Any] = field(default_factory=dict)

    def knows(self, backbone: str) -> bool:
        """Tell whether a backbone was measured on this machine."""
        return backbone in self.backbones

    def seconds(self, work: Work, name: str, backbone: dict[str, Any], *, precision: str, shape: list[int]) -> float:
        """Return the seconds of some work: passes of a backbone over images of `shape` (C, H, W).

        The work of a convolutional network grows with the area of its images. A network that resizes them has one cost.
        """
        resized = {"image_size", "upsample"} & set(backbone["parameters"])
        area = 1.0 if resized else _pixels(shape) / _pixels(backbone["shape"])
        total = 0.0
        for kind in FLOPS:
            image_us, call_us = self._pass_us(kind, name, backbone.get("gflop", UNMEASURED["gflop"]), precision)
            total += getattr(work.passes, kind) * (image_us * area * work.size + call_us / max(work.batch, 1.0))
        return work.images * total / 1e6

    def training_s(self, spec: dict[str, Any], backbones: dict[str, Any]) -> float:
        """Return the device-seconds of a training run of this specification, without the start of its process."""
        name, precision = spec["backbone"]["name"], spec["recipe"]["precision"]
        shape, backbone = spec["dataset"]["shape"], backbones[name]
        work = training_work(spec)
        return sum(self.seconds(w, name, backbone, precision=precision, shape=shape) for w in work)

    def attack_s(
        self,
        spec: dict[str, Any],
        trainings: list[dict[str, Any]],
        backbones: dict[str, Any],
        *,
        classes: int,
        shape: list[int],
    ) -> float:
        """Return the device-seconds of an attack job whose images pass the networks of all these trainings."""
        total = 0.0
        for training in trainings:
            name, size = training["backbone"]["name"], token_factor(training)
            for work in attack_work(spec, classes):
                sized = replace(work, size=size)
                total += self.seconds(sized, name, backbones[name], precision="float32", shape=shape)
        return total

    def _pass_us(self, kind: str, name: str, gflop: float, precision: str) -> tuple[float, float]:
        """Return microseconds for each image and for each call."""
        if name in self.backbones:
            passes = self.backbones[name]["passes"]
            times = passes.get(precision, passes["float32"])[kind]
            return times["image_us"], times["call_us"]
        return FLOPS[kind] * gflop / self.gflops.get(precision, self.gflops["float32"]) * 1e6, 0.0


def _pixels(shape: list[int]) -> int:
    return shape[-1] * shape[-2]


def measured_machine(benchmark: dict[str, Any]) -> Machine:
    """Return the machine of a stored benchmark. Its throughput is fitted to the large backbones, or to all without any.

    The fit leaves out training passes: an update of the weights costs the same for every batch size.
    """
    backbones = benchmark["backbones"]
    large = {name: b for name, b in backbones.items() if b["gflop"] >= LARGE_GFLOP} or backbones
    gflops, fits = {}, []
    for precision in dict.fromkeys(precision for b in large.values() for precision in b["passes"]):
        rates = [
            work * b["gflop"] / b["passes"][precision][kind]["image_us"] * 1e6
            for b in large.values()
            for kind, work in FLOPS.items()
            if kind != "learn" and precision in b["passes"]
        ]
        gflops[precision] = statistics.median(rates)
        fits.append(f"{gflops[precision]:,.0f} GFLOP/s in {precision} ({min(rates):,.0f} to {max(rates):,.0f})")
    threads = (
        f", {benchmark['threads']} thread{'s' if benchmark['threads'] > 1 else ''}"
        if benchmark["device"] == "cpu"
        else ""
    )
    about = (
        f"measured with torch {benchmark['torch']} for {len(backbones)} backbones, others from their GFLOP at "
        f"{'; '.join(fits)}, the median of {len(large)} backbones"
    )
    return Machine(
        benchmark["machine"], benchmark["title"] + threads, benchmark["device"], gflops, about, True, backbones
    )


def stated_machine(name: str, entry: dict[str, Any]) -> Machine:
    """Return a machine of benchmarks/machines.yaml: a published peak times an assumed utilisation."""
    gflops = {precision: 1e3 * peak * entry["utilisation"][precision] for precision, peak in entry["tflops"].items()}
    parts = (
        f"{entry['utilisation'][precision]:.0%} of {peak:g} TFLOP/s in {precision}"
        for precision, peak in entry["tflops"].items()
    )
    about = f"assumed, not measured: {', '.join(parts)} (published peaks: {entry['source']})"
    return Machine(name, entry["title"], entry["device"], gflops, about, False)


UNKNOWN = Machine("unknown", "an unknown machine", "cpu", {"float32": 10.0}, "assumed, not measured: 10 GFLOP/s", False)


def machines(folder: Path = BENCHMARKS) -> dict[str, Machine]:
    """Return every machine by name, the measured ones first."""
    measured = [measured_machine(read_json(path)) for path in sorted((folder / "passes").glob("*.json"))]
    return {
        **{machine.name: machine for machine in measured},
        **{name: stated_machine(name, entry) for name, entry in _stated(folder)["machines"].items()},
    }


def _stated(folder: Path) -> dict[str, Any]:
    """Return benchmarks/machines.yaml, or an empty table where it is absent: a plan needs no benchmarks."""
    path = folder / "machines.yaml"
    return load_document(path, "machines").values if path.exists() else {"default": None, "machines": {}}


def machine_for(device: str, *, name: str | None = None, folder: Path = BENCHMARKS) -> Machine:
    """Return the named machine, else the machine of this device with most measured backbones, else an assumed one.

    Raises RobustftError for an unknown name.
    """
    known = machines(folder)
    if name is not None:
        return lookup(known, name, kind="machine", where=folder)
    fitting = [machine for machine in known.values() if machine.device == device]
    measured = [machine for machine in fitting if machine.measured]
    if measured:
        return max(measured, key=lambda machine: len(machine.backbones))
    default = known.get(_stated(folder)["default"], UNKNOWN)
    return fitting[0] if fitting and default.device != device else default


def observed(machine: str, folder: Path = BENCHMARKS) -> list[dict[str, Any]]:
    """Return the stored comparisons of predicted and observed times on a machine."""
    comparisons = map(read_json, sorted((folder / "observed").glob("*.json")))
    return [comparison for comparison in comparisons if comparison["machine"] == machine]
