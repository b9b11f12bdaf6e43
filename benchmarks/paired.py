"""Time two or more ways to do the same thing against each other: alternately, so that a slow minute hits them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Row, Spread
from robustft.errors import RobustftError
from robustft.files import ROOT

Function = Callable[[], object]


@dataclass(frozen=True)
class Paired:
    """Measurements by name; the i-th ones of all names were taken one after the other."""

    seconds: dict[str, list[float]]

    def spread(self, name: str) -> Spread:
        """Return median and quartiles of one of them."""
        return Spread.of(self.seconds[name])

    def ratio(self, over: str = "textbook", under: str = "ours") -> Spread:
        """Return median and quartiles of the ratios of each pair."""
        pairs = zip(self.seconds[over], self.seconds[under], strict=True)
        return Spread.of([first / second for first, second in pairs])

    def row(
        self,
        group: str,
        name: str,
        *,
        textbook: str = "textbook",
        ours: str = "ours",
        unit: str = "s",
        bar: float | None = None,
        note: str = "",
        predicted: float | None = None,
    ) -> Row:
        """Return the comparison of two of the names as a row of the table."""
        ratio = self.ratio(textbook, ours)
        return Row(group, name, unit, self.spread(textbook), self.spread(ours), ratio, bar, note, predicted)


def paired(
    functions: Mapping[str, Function],
    *,
    repeats: int,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    synchronize: Function | None = None,
    before: Callable[[str], object] | None = None,
) -> Paired:
    """Call the functions in turn (A B B A A B ...) in this process and return the seconds of each call.

    Every second turn goes backwards, so that no function always runs after the same other one.

    Args:
        functions: what to time, by name.
        repeats: timed calls of each.
        warmup: calls of each before the first timed one; they allocate, compile and fill caches.
        clock: `time.process_time` leaves out what other processes take, and is right only on one thread and no GPU.
        synchronize: waits for queued work; where this process used CUDA it is `torch.cuda.synchronize` by itself.
        before: is told the name before each call, untimed; it prepares what a call needs.
    """
    wait = synchronize or _synchronize()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name in in_turn(functions, turn):
            function = functions[name]
            if before is not None:
                before(name)
            wait()
            start = clock()
            function()
            wait()
            if turn >= warmup:
                seconds[name].append(clock() - start)
    return Paired(seconds)


def in_turn(names: Iterable[str], turn: int) -> list[str]:
    """Return the names in the order of a turn: as they are, then backwards, and so on."""
    return list(names)[:: -1 if turn % 2 else 1]


def paired_processes(
    commands: Mapping[str, Sequence[str]],
    *,
    repeats: int,
    warmup: int = 1,
    reported: bool = False,
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
) -> Paired:
    """Run the commands in turn, each in a process of its own, and return the wall seconds of each run.

    Args:
        commands: argument lists by name; `sys.executable` for Python.
        repeats: timed runs of each.
        warmup: runs of each before the first timed one (byte code, the system's file cache).
        reported: take the number that the command prints as its last line of standard output instead of the wall time:
            seconds of a part that the process timed itself, or its peak memory.
        folder: the working directory.
        environment: the environment variables; None passes this process's on. PYTHONDONTWRITEBYTECODE is left out:
            with it this project's modules, and no others, would be compiled each time.

    Raises:
        RobustftError: a command fails, or its last line is no number.
    """
    variables = dict(environment or os.environ)
    variables.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(name: str) -> float:
        start = time.perf_counter()
        done = subprocess.run(
            commands[name], cwd=folder, env=variables, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RobustftError(f"the command '{name}' failed", observed=done.stderr.strip()[-2000:])
        return _last_number(name, done.stdout) if reported else seconds

    values: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(warmup + repeats):
        for name in in_turn(commands, turn):
            value = run(name)
            if turn >= warmup:
                values[name].append(value)
    return Paired(values)


def _last_number(name: str, output: str) -> float:
    line = (output.strip().splitlines() or [""])[-1]
    try:
        return float(json.loads(line))
    except (ValueError, TypeError) as error:
        raise RobustftError(f"'{name}' reported no number", expected="a number", observed=repr(line)) from error


def _synchronize() -> Function:
    """Return the function that waits for the GPU; one that does nothing if this process never used a GPU."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return torch.cuda.synchronize
    return lambda: None
