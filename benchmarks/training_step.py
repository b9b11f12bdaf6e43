"""Time one adversarial training step of ours against the textbook's, and ours against ours without each optimization.

    python -m benchmarks.training_step                             # every case on one CPU thread
    python -m benchmarks.training_step --cases resnet18_at --threads 2
    python -m benchmarks.training_step --device cuda    # bfloat16 in both; has not been run on a GPU yet

A step is batch, attack, loss, gradients and update. Ours is `Trainer._train_step`. Both start from the same weights and
see the same images and the same random start; how far their adversarial images, losses and updated weights then
differ is in each row's note. A sign step turns a gradient that rounds to the other side of zero into a whole step, so
a few pixels differ by that much; the attacks are equally strong.

`predicted` is the ratio of the counted floating point operations, or for an optimization that does not change them a
guess (`GUESSES`) made before it was measured.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.cases import CASES, Case
from benchmarks.paired import Function, Paired, paired
from benchmarks.rows import Row, write_rows
from benchmarks.sides import WORKERS, Ours, Problem, Setting, Theirs, difference, flops, opponent
from robustft.errors import lookup
from robustft.runtime.device import set_up

GROUP, SINGLE = "training step", "training step: one optimization"
BAR_CUDA = 2.0
GUESSES = {"folded_batch_norm": 1.1, "channels_last": 1.1, "bfloat16": 1.8}
"""The expected ratio on a CPU where no count of operations changes, guessed before anything was measured."""
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
"""Published dense bfloat16 operations a second by a part of the GPU's name (NVIDIA's data sheets)."""
QUICK_BATCHES = {"resnet18_at": 8, "vit_s_adapt": 2}
SINGLE_CASES = ("resnet18_at", "vit_s_adapt", "clip_pmg_aft")
"""The cases whose optimizations are measured one by one if no case is named: one of each kind of network."""
REPEATS, QUICK_REPEATS, SINGLE_REPEATS = 5, 2, 5


def rows(
    *,
    quick: bool,
    cases: Sequence[str] | None = None,
    setting: Setting | None = None,
    batch: int | None = None,
    optimizations: bool = True,
    peak: float | None = None,
) -> list[Row]:
    """Measure the cases (all of them; two, in small batches, if quick) and return their rows.

    Args:
        quick: fewer and smaller cases, fewer repeats, no optimization by itself.
        cases: names in `CASES`.
        setting: device, threads and precision.
        batch: images in a batch, instead of each case's own.
        optimizations: whether to measure ours without each optimization too.
        peak: of the device, operations a second of dense bfloat16; None looks a GPU up in `PEAKS`.
    """
    setting = setting or Setting()
    set_up(torch.device(setting.device), threads=setting.threads)
    measured: list[Row] = []
    for name in cases or (QUICK_BATCHES if quick else CASES):
        case = lookup(CASES, name, kind="training step", where="benchmarks/cases.py")
        size = batch or (QUICK_BATCHES.get(name, 4) if quick else case.batch)
        problem, started = Problem.of(replace(case, batch=size)), time.monotonic()
        compared = totals(problem, setting, quick=quick, peak=peak)
        alone = optimizations and not quick and (cases or name in SINGLE_CASES)
        measured += compared + (single_optimizations(problem, setting) if alone else [])
        speed = f"{compared[0].ratio.median:.2f} times as fast" if compared[0].ratio else "not compared"
        sys.stderr.write(f"  {case.title}: {speed} ({time.monotonic() - started:.0f} s)\n")
    return measured


def totals(problem: Problem, setting: Setting, *, quick: bool, peak: float | None) -> list[Row]:
    """Time ours against each form of the textbook's step."""
    case = problem.case
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(problem.trainer(setting, Path(scratch)))
        theirs = {variant: opponent(problem, ours, variant, setting) for variant in case.variants}
        exact = setting.device == "cpu" and case.convolutional and not setting.amp and not quick
        apart = difference(problem, ours, theirs["textbook"], rounding=exact)
        sides: dict[str, Function] = {**theirs, "ours": ours}
        work = {name: flops(side) for name, side in sides.items()}
        times = timed(sides, setting, repeats=QUICK_REPEATS if quick else REPEATS)
    group = GROUP if setting.device == "cpu" else f"{GROUP}, {setting.device}"
    bar = case.bar if setting.device == "cpu" else BAR_CUDA
    compared = []
    for variant in case.variants:
        about = f"{described(case, setting)}; {apart}" if variant == "textbook" else described(case, setting)
        compared.append(
            times.row(
                group,
                case.title if variant == "textbook" else f"{case.title}: {variant}",
                textbook=variant,
                bar=bar if variant == "textbook" else None,
                note=f"{about}; {rates(times, case, work, variant, setting=setting, peak=peak)}",
                predicted=round(work[variant] / work["ours"], 3),
            )
        )
    return compared


def single_optimizations(problem: Problem, setting: Setting) -> list[Row]:
    """Time ours without each optimization against ours, and ours in bfloat16, whose numbers are others."""
    case = problem.case
    settings = {optimization: setting.without(optimization) for optimization in case.optimizations}
    if not setting.amp:
        settings["bfloat16"] = replace(setting, amp=True)
    with tempfile.TemporaryDirectory() as scratch:
        chosen = {"all": setting, **settings}
        sides: dict[str, Function] = {name: Ours(problem.trainer(each, Path(scratch))) for name, each in chosen.items()}
        for side in sides.values():
            side()
        work = {name: flops(side) for name, side in sides.items()}
        # bfloat16 by itself: its tensors of other sizes leave the allocator in another state to whatever comes next.
        half = sides.pop("bfloat16", None)
        times = timed(sides, setting, repeats=SINGLE_REPEATS)
        in_half = timed({"all": sides["all"], "bfloat16": half}, setting, repeats=SINGLE_REPEATS) if half else times
    compared = []
    for optimization in settings:
        predicted = work[optimization] / work["all"]
        if abs(predicted - 1) < 1e-3:  # the same operations
            predicted = GUESSES.get(optimization, 1.0)
        before, after = ("all", optimization) if optimization == "bfloat16" else (optimization, "all")
        note = (
            "before: without it; after: with all optimizations"
            if optimization != "bfloat16"
            else _others(problem, setting)
        )
        compared.append(
            (in_half if optimization == "bfloat16" else times).row(
                SINGLE,
                f"{case.title}: {optimization}",
                textbook=before,
                ours=after,
                note=f"{note}; {described(case, setting)}",
                predicted=round(predicted, 3),
            )
        )
    return compared


def _others(problem: Problem, setting: Setting) -> str:
    """Return how far bfloat16 is from the textbook's float32, in words."""
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(problem.trainer(replace(setting, amp=True), Path(scratch)))
        apart = difference(problem, ours, opponent(problem, ours, "textbook", setting))
    return f"NOT THE SAME NUMBERS, and off unless a recipe says so: {apart}"


def timed(sides: Mapping[str, Function], setting: Setting, *, repeats: int) -> Paired:
    """Time all sides, each of which took a step before, in turn.

    On one CPU thread the clock is the process's own time, so that other work on the machine weighs less.
    """
    own = setting.device == "cpu" and setting.threads == 1
    return paired(
        sides,
        repeats=repeats,
        warmup=0 if setting.device == "cpu" else 3,
        clock=time.process_time if own else time.perf_counter,
        before=lambda name: allow_any_kernel(isinstance(sides[name], Theirs)),
    )


def allow_any_kernel(allowed: bool) -> None:
    """Let torch choose any kernel, as it does by itself, or only deterministic ones, as ours does."""
    torch.backends.cudnn.benchmark = allowed
    torch.set_deterministic_debug_mode("default" if allowed else "error")


def described(case: Case, setting: Setting) -> str:
    """Return what a row was measured on."""
    precision = "bfloat16 autocast" if setting.amp else "float32"
    parts = [f"batch {case.batch}", f"{case.steps} steps of the attack", precision]
    parts += [f"{setting.threads} thread{'s' if setting.threads > 1 else ''}"] if setting.device == "cpu" else []
    parts += [f"the textbook's loader with {WORKERS} workers and pinned memory"] if setting.device == "cuda" else []
    return ", ".join(parts) + (f" ({case.note})" if case.note else "")


def rates(
    times: Paired, case: Case, work: Mapping[str, float], variant: str, *, setting: Setting, peak: float | None
) -> str:
    """Return images a second of both, and where the peak is known the share of it that ours reaches."""
    both = [f"{name} {case.batch / times.spread(name).median:,.1f}" for name in (variant, "ours")]
    images = f"images a second: {', '.join(both)}"
    peak = peak or known_peak(setting.device)
    reached = work["ours"] / times.spread("ours").median
    share = f", {100 * reached / peak:.1f} % of {peak / 1e12:,.0f} Tflop/s dense bfloat16" if peak else ""
    return f"{images}; ours {reached / 1e9:,.0f} Gflop/s{share}"


def known_peak(device: str) -> float | None:
    """Return the published peak of this GPU, if it is in the table."""
    if device != "cuda":
        return None
    name = torch.cuda.get_device_name()
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def main() -> None:
    """Measure, print, and store if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU (default: 1)")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="default: all")
    parser.add_argument("--batch", type=int, help="images in a batch (default: each case's own; 256 on a GPU)")
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast in both (always on a GPU)")
    parser.add_argument("--peak", type=float, help="Tflop/s of dense bfloat16, where the GPU is not known")
    parser.add_argument("--no-optimizations", action="store_true", help="leave the single optimizations out")
    parser.add_argument("--quick", action="store_true", help="two cases in small batches")
    parser.add_argument(
        "--file", type=Path, help="store the rows here, such as benchmarks/results/training_step_cuda.json"
    )
    arguments = parser.parse_args()
    from benchmarks.table import printed  # it names this module

    gpu = arguments.device == "cuda"
    setting = Setting(arguments.device, arguments.threads, amp=arguments.amp or gpu)
    measured = rows(
        quick=arguments.quick,
        cases=arguments.cases,
        setting=setting,
        batch=arguments.batch or (256 if gpu else None),
        optimizations=not arguments.no_optimizations,
        peak=arguments.peak and arguments.peak * 1e12,
    )
    sys.stdout.write(f"{printed(measured)}\n")
    for row in measured:
        sys.stdout.write(f"{row.name}: {row.note}\n")
    if arguments.file is not None:
        write_rows(arguments.file, measured, topic="training_step", device=arguments.device, quick=arguments.quick)


if __name__ == "__main__":
    main()
