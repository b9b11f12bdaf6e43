"""Measure how long one image takes through each backbone, for `robustft plan` to estimate with.

    python benchmarks/passes.py                      # every backbone that fits, on one CPU core
    python benchmarks/passes.py --device cuda        # on one GPU, in float32 and bfloat16
    python benchmarks/passes.py --count              # measure nothing: print shape, gflop and weights of each backbone

The three kinds of pass are those that training and attacks are made of:

| pass | what |
| --- | --- |
| forward | logits, no gradient |
| attack | a step of PGD: forward, the gradient with respect to the image alone, the projection |
| learn | a step of training: forward, the gradients with respect to all weights, SGD |

On one CPU thread the clock is the process's own time, so that other work on the machine weighs less; each backbone's
entry has the load average before it. Each pass is timed at two batch sizes. A pass over a batch of B images takes
call_us + B * image_us: what a call costs however small the batch (Python, launching kernels, the update of the
weights), and what each image adds.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.config.load import load_document
from robustft.files import ROOT, read_json, write_json
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.text_heads import TextHead
from robustft.models.tunings.zero_shot import ZeroShot
from robustft.runtime.device import set_up
from robustft.speed.optimizations import Optimizations, apply_optimizations

SCHEMA = "robustft-passes-1"
CLASSES = 10
REPEATS = 7
LEAST_S = 0.1
"""Of one repeat: short passes are repeated within it."""
BATCHES = (8, 128)
"""The two batch sizes; where the larger does not fit in the time, the smaller ones."""
SMALL_BATCHES = (1, 4)


def backbones() -> dict[str, Any]:
    """Return the entries of config/backbones.yaml."""
    return load_document(ROOT / "config" / "backbones.yaml", "backbones").values["backbones"]


def built(name: str, backbone: dict[str, Any], device: str) -> Classifier:
    """Return the backbone with random weights and ten classes; a text tower reads ten prompts once."""
    prompts = [f"class {number}" for number in range(CLASSES)] if backbone.get("head") else None
    with torch.device(device):
        model = build_classifier({"name": name, **backbone}, shape=backbone["shape"], classes=CLASSES, prompts=prompts)
        if isinstance(model.head, TextHead):
            model = ZeroShot().prepare(model)
    return model.to(device)


def counted(name: str, backbone: dict[str, Any]) -> dict[str, Any]:
    """Return shape, gflop of one forward pass of one image (multiply-add = 2), and the numbers in a checkpoint."""
    model = built(name, backbone, "meta").eval()
    apply_optimizations(
        model, Optimizations(needed_tokens=False)
    )  # the work of the published network, not of a shorter way
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, *backbone["shape"], device="meta"))
    weights = sum(tensor.numel() for tensor in model.state_dict().values())
    return {"shape": backbone["shape"], "gflop": counter.get_total_flops() / 1e9, "weights": weights}


def passes(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Callable[[], object]]:
    """Return one function for each kind of pass over a batch, doing what training and attacks do around it."""
    budget = Budget(ThreatModel("linf", Fraction(8, 255)), 1, Fraction(1, 4))
    objective = partial(cross_entropy, y=y)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)

    def forward() -> None:
        with torch.no_grad():
            model(x).argmax(1)

    def learn() -> None:
        loss = cross_entropy(model(x), y).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    attack = partial(pgd, model, x, budget=budget, objective=objective, start="none")
    return {"forward": forward, "attack": attack, "learn": learn}


def own_time(device: str) -> bool:
    """Tell whether the process's own time is what a pass takes: with one thread and no GPU."""
    return device == "cpu" and torch.get_num_threads() == 1


def timed(function: Callable[[], object], device: str) -> list[float]:
    """Return the seconds of one call in each of the repeats; short calls are repeated within one."""
    clock = time.process_time if own_time(device) else time.perf_counter

    def run(calls: int) -> float:
        start = clock()
        for _ in range(calls):
            function()
        if device == "cuda":
            torch.cuda.synchronize()
        return (clock() - start) / calls

    run(1)
    calls = max(1, int(LEAST_S / run(1)))
    return [run(calls) for _ in range(REPEATS)]


def measured(
    model: nn.Module, shape: list[int], batches: tuple[int, int], device: str, precision: str
) -> dict[str, Any]:
    """Return for each kind of pass call_us and image_us, and the quartiles of the larger batch over its median."""
    result: dict[str, Any] = {}
    model.eval()
    times: dict[str, list[list[float]]] = {}
    for batch in batches:
        x = torch.rand(batch, *shape, device=device)
        y = torch.arange(batch, device=device) % CLASSES
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            for kind, function in passes(model, x, y).items():
                times.setdefault(kind, []).append(timed(function, device))
    small, large = batches
    for kind, (few, many) in times.items():
        low, middle, high = statistics.quantiles(many, n=4)
        image = (middle - statistics.median(few)) / (large - small)
        if image <= 0:  # noise: the larger batch took no longer
            image = middle / large
        result[kind] = {
            "call_us": round(max(0.0, middle - large * image) * 1e6, 1),
            "image_us": round(image * 1e6, 3),
            "spread": [round(low / middle, 3), round(high / middle, 3)],
        }
    return result


def hardware(device: str) -> str:
    """Return the name of the GPU or of the CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    about = Path("/proc/cpuinfo")
    text = about.read_text(encoding="utf-8") if about.exists() else ""
    fields = {
        key: re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE) for key in ("model name", "cpu family", "model")
    }
    name = [match.group(1) for match in fields.values() if match]
    return f"{name[0]} (family {name[1]}, model {name[2]})" if len(name) == 3 else platform.processor() or "CPU"


def machine_name(title: str, device: str, threads: int) -> str:
    """Return the file's name: hardware and, for a CPU, threads."""
    plain = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    return plain if device == "cuda" else f"{plain}_{threads}_thread{'s' if threads > 1 else ''}"


def _batches(gflop: float, *, limit_s: float, gflop_per_s: float) -> tuple[int, int] | None:
    """Return the batch sizes whose measurement should end in time: all repeats, all passes, 6 forward passes' worth."""
    images = limit_s * gflop_per_s / ((REPEATS + 2) * 6 * gflop)
    return next((batches for batches in (BATCHES, SMALL_BATCHES) if sum(batches) <= images), None)


def benchmark(
    names: list[str],
    *,
    device: str,
    threads: int,
    limit_s: float,
    keep: Callable[[dict[str, Any]], object] = lambda _: None,
) -> dict[str, Any]:
    """Measure backbones, smaller ones first, and return the content of a machine's file.

    `keep` is given what there is after each backbone, so that nothing is lost if a later one fails.
    Left out, with the reason: what does not fit in the memory, and what would take longer than `limit_s` at the
    throughput of the largest one measured before it.
    """
    set_up(torch.device(device), threads=threads)
    entries, precisions = backbones(), ["float32", "bfloat16"] if device == "cuda" else ["float32"]
    counts = {name: counted(name, entries[name]) for name in names}
    title = hardware(device)
    measurements: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    machine = {"machine": machine_name(title, device, threads), "title": title, "device": device, "threads": threads}
    head = {"schema": SCHEMA, **machine, "torch": torch.__version__, "repeats": REPEATS}
    head["clock"] = "process" if own_time(device) else "wall"
    rate = 5000.0 if device == "cuda" else 20.0  # GFLOP/s, until something large enough was measured
    for name in sorted(names, key=lambda name: counts[name]["gflop"]):
        batches = _batches(counts[name]["gflop"], limit_s=limit_s, gflop_per_s=rate)
        if batches is None:
            left_out[name] = f"it would take more than {limit_s:.0f} s"
            continue
        about = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "load": round(os.getloadavg()[0], 2)}
        try:
            model = built(name, entries[name], device)
            times = {
                p: measured(model, counts[name]["shape"], batches=batches, device=device, precision=p)
                for p in precisions
            }
        except torch.OutOfMemoryError:
            left_out[name] = "it does not fit in the memory"
            continue
        measurements[name] = {**counts[name], **about, "batches": list(batches), "passes": times}
        image_us = times["float32"]["attack"]["image_us"]
        sys.stdout.write(f"{name}: {image_us:,.0f} us an image in an attack's pass, load {about['load']}\n")
        sys.stdout.flush()
        if counts[name]["gflop"] > 0.01:
            rate = 2e6 * counts[name]["gflop"] / image_us
        keep({**head, "backbones": dict(measurements), "left_out": dict(left_out)})
    return {**head, "backbones": measurements, "left_out": left_out}


def stored(result: dict[str, Any], folder: Path) -> Path:
    """Write a machine's file, or lay the result over the one that is there."""
    path = folder / f"{result['machine']}.json"
    if path.exists():
        before = read_json(path)
        if before["torch"] == result["torch"]:
            for part in ("backbones", "left_out"):
                result[part] = {**before[part], **result[part]}
            result["left_out"] = {k: v for k, v in result["left_out"].items() if k not in result["backbones"]}
    write_json(path, result)
    return path


def main() -> None:
    """Measure, or count, and store or print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU (default: 1)")
    parser.add_argument("--limit-s", type=float, default=60, help="leave out backbones that take longer (default: 60)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some backbones (default: all)")
    parser.add_argument("--count", action="store_true", help="only print what config/backbones.yaml says of each")
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "passes", help="where the file goes")
    arguments = parser.parse_args()
    names = arguments.only or list(backbones())
    if arguments.count:
        for name in names:
            count = counted(name, backbones()[name])
            sys.stdout.write(
                f"{name}: {{shape: {count['shape']}, gflop: {count['gflop']:.4g}, weights: {count['weights']}}}\n"
            )
        return
    result = benchmark(
        names,
        device=arguments.device,
        threads=arguments.threads,
        limit_s=arguments.limit_s,
        keep=partial(stored, folder=arguments.folder),
    )
    sys.stdout.write(f"written: {stored(result, arguments.folder)}\n")


if __name__ == "__main__":
    main()
