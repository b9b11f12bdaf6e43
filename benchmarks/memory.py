"""Peak memory of the steps on 1, 4 and 16 times as many images, and how fast pictures are decoded.

    python -m benchmarks.memory            # about four minutes
    python -m benchmarks.memory --quick

Each size of each case runs in a process of its own, which does what the step of the DAG does, on made-up data. Its
peak is the kernel's own count, less what the process held when everything was imported: what the work took. Pages of
files that are read are not part of it, unless the file is mapped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.memory_cases import CASES, Case, photographs
from benchmarks.paired import paired
from benchmarks.rows import Row, Spread, write_rows
from pipeline.context import Context
from pipeline.data.decoded import decoded
from pipeline.data.pictures import decode
from pipeline.errors import RobustftError
from pipeline.files import ROOT, read_json, write_json

GROUP, SPEED = "memory", "decoding"
TIMES = (1, 4, 16)
"""How many times the smallest set of images each case is measured on."""


def _status(key: str) -> float:
    """Return a value of this process's status in MB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{key}:", 1)[1].split()[0]) / 1024


def work(case: Case, folder: Path) -> dict[str, float]:
    """Run the step in this process; return its peak in MB, and what of the growth was mapped files, and the seconds."""
    plan = read_json(folder / "plan.json")
    inputs = {role: Path(path) for role, path in plan["inputs"].items()}
    outputs = {role: folder / f"out.{role}" for role in case.outputs}
    context = Context(inputs, outputs, folder, settings={"threads": 1}, say=lambda text: None)
    module, name = case.entry.split(":")
    function = getattr(import_module(module), name)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel forgets the peak of the imports
    before, files, started = _status("VmRSS"), _status("RssFile"), time.perf_counter()
    function(plan["spec"], context)
    seconds = time.perf_counter() - started
    return {"peak": _status("VmHWM") - before, "mapped": _status("RssFile") - files, "seconds": seconds}


def measured(name: str, images: int) -> dict[str, float]:
    """Prepare a case and run it in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        spec, inputs = CASES[name].prepare(folder, images)
        write_json(folder / "plan.json", {"spec": spec, "inputs": {role: str(path) for role, path in inputs.items()}})
        command = [sys.executable, "-m", "benchmarks.memory", "--work", name, str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RobustftError(f"the case '{name}' failed", observed=done.stderr.strip()[-2000:])
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def growth(name: str, unit: int) -> list[Row]:
    """Return a row for each size of one case."""
    case, first = CASES[name], 0.0
    found = []
    for times in TIMES:
        run = measured(name, times * unit)
        first = first or run["peak"]
        size = times * unit * case.unit_bytes / 2**20
        found.append(
            Row(
                GROUP,
                f"{case.title}, {times}x",
                "MB",
                None,
                Spread.of([run["peak"]]),
                note=f"{times * unit} images, {size:.1f} MB; {run['peak'] / first:.2f} of 1x; "
                f"{run['mapped']:.1f} MB of it mapped libraries and files; {run['seconds']:.1f} s",
            )
        )
    return found


def decoding(pictures: int, *, repeats: int, threads: int = 2) -> Row:
    """Compare the decoding of pictures in one thread with several."""
    data = photographs(16, (500, 375))
    geometry = {"resize": 256, "crop": 224}

    def run(threads: int) -> None:
        work = (partial(decode, data[k % len(data)], where=k, geometry=geometry) for k in range(pictures))
        for _ in decoded(work, threads=threads):
            pass

    times = paired({"textbook": partial(run, 1), "ours": partial(run, threads)}, repeats=repeats)
    rate = {name: pictures / times.spread(name).median for name in ("textbook", "ours")}
    speed = " and ".join(f"{rate[name]:.0f}" for name in ("textbook", "ours"))
    note = f"JPEGs of 500x375, {len(data[0]) // 1000} kB, to 224x224; {speed} a second"
    return times.row(SPEED, f"{pictures} pictures in {threads} threads, not one", note=note)


def rows(*, quick: bool) -> list[Row]:
    """Measure every case at every size, and the decoding."""
    found = [row for name, case in CASES.items() for row in growth(name, case.fewest[not quick])]
    return [*found, decoding(100 if quick else 400, repeats=3 if quick else 9)]


def main() -> None:
    """Measure, print, and store; or be the process that is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--work", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        name, folder = arguments.work
        sys.stdout.write(json.dumps(work(CASES[name], Path(folder))) + "\n")
        return
    from benchmarks.table import printed  # it names this module

    found = rows(quick=arguments.quick)
    path = ROOT / "benchmarks" / "results" / "memory.json"
    write_rows(path, found, topic="memory", quick=arguments.quick)
    sys.stdout.write(f"{printed(found)}\nwritten: {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
