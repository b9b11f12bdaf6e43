"""Part 1: the steps of every method on the device as on the CPU, twice the same, resumed, and in other arithmetic."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import CASES
from benchmarks.every_training import Training, kinds
from benchmarks.host_draws import HostDraws
from benchmarks.sides import Ours, Problem, Setting
from robustft.errors import RobustftError

TOLERANCE = 5e-2
"""Of a step's change of the weights: an attack takes signs of gradients, which rounding turns where they are small."""

QUICK_KINDS = 6


def pieces(device: torch.device, *, quick: bool) -> dict[str, Callable[[], Any]]:
    """Return the pieces of the part: one for each kind of training at scale demo, then the arithmetic."""
    found = list(kinds("demo", by="classes").items())
    chosen = found[:: max(1, len(found) // QUICK_KINDS)][:QUICK_KINDS] if quick else found
    steps: dict[str, Callable[[], Any]] = {name.replace(" ", "_"): partial(kind, spec, device) for name, spec in chosen}
    return {
        **steps,
        "bfloat16": partial(bfloat16, device, batch=2 if quick else 256),
        **({} if quick else {"compiled": partial(compiled, device)}),
    }


def kind(spec: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Compare two steps on the device with those on the CPU, repeat them, resume them, and return the differences.

    Raises RobustftError if they differ by more than the tolerance, or if the repeated run differs at all.
    """
    cpu = torch.device("cpu")
    with HostDraws():
        ours, again, theirs = _weights(spec, device), _weights(spec, device), _weights(spec, cpu)
    if not all(torch.equal(ours[0][name], tensor) for name, tensor in again[0].items()):
        raise RobustftError("two runs of one training differ", expected="equal weights", observed=_apart(ours, again))
    apart = _apart(ours, theirs)
    if apart > TOLERANCE:
        raise RobustftError("the device's steps are not the CPU's", expected=f"at most {TOLERANCE}", observed=apart)
    with tempfile.TemporaryDirectory() as folder:
        first = Training(spec, device, Path(folder), batch=4)
        first.step(0)
        first.step(1)
        first.end()
        Training(spec, device, Path(folder), batch=4).resumed(first)
    memory = torch.cuda.max_memory_allocated(device) >> 20 if device.type == "cuda" else None
    return {"apart_from_cpu": apart, "repeated": "equal", "resumed": "equal", "peak_memory_mb": memory}


State = tuple[dict[str, Tensor], dict[str, Tensor]]


def _weights(spec: dict[str, Any], device: torch.device) -> State:
    """Return the weights after and before two steps, on the CPU."""
    with tempfile.TemporaryDirectory() as folder:
        training = Training(spec, device, Path(folder), batch=4)
        before = {name: tensor.cpu().clone() for name, tensor in training.trainer.model.state_dict().items()}
        training.step(0)
        training.step(1)
        after = {name: tensor.cpu().clone() for name, tensor in training.trainer.model.state_dict().items()}
    return after, before


def _apart(ours: State, theirs: State) -> float:
    """Return how far two trainings are apart, over how far they went: both as norms over all weights."""
    floating = [name for name, tensor in theirs[0].items() if tensor.is_floating_point()]
    moved = sum(float((theirs[0][name] - theirs[1][name]).double().square().sum()) for name in floating) ** 0.5
    apart = sum(float((ours[0][name] - theirs[0][name]).double().square().sum()) for name in floating) ** 0.5
    return apart / moved if moved else apart


def bfloat16(device: torch.device, *, batch: int) -> dict[str, float]:
    """Return the loss of one step of ResNet-18's adversarial training in float32 and under autocast."""
    losses = {}
    problem = Problem.of(replace(CASES["resnet18_at"], batch=batch, steps=2))
    for name, amp in (("float32", False), ("bfloat16", True)):
        with tempfile.TemporaryDirectory() as folder:
            side = Ours(problem.trainer(Setting(device.type, torch.get_num_threads(), amp=amp), Path(folder)))
            side()
            losses[name] = float(side.trainer._losses[-1][1]["loss"])
    return losses


def compiled(device: torch.device) -> float:
    """Return the largest difference of the logits of a compiled ResNet-18, over their largest value."""
    model = Problem.of(CASES["resnet18_at"]).initial.to(device).eval()
    x = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad():
        plain, fast = model(x), torch.compile(model)(x)
    return float((plain - fast).abs().max() / plain.abs().max())
