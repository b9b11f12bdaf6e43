"""Peak memory of the steps on 1, 4 and 16 times as many images, and how fast pictures are decoded.

    python -m benchmarks.memory            # about four minutes; stored
    python -m benchmarks.memory --quick    # not stored

Each size of each case runs in a process of its own, which runs the DAG's step on made-up data, twice. The first run has
a few images: it imports everything and fills the caches of the libraries. The second run has all images. The peak is
the kernel's count during the second run, less the memory that the process holds between the two, after freed memory is
given back. Pages of a file count only if the file is mapped.
"""

from __future__ import annotations

import argparse
import gc
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
from robustft.data.decoded import decoded
from robustft.data.formats.pictures import decode
from robustft.errors import RobustftError
from robustft.files import ROOT, read_json, write_json
from robustft.runtime.context import Context
from robustft.runtime.memory import give_back_freed

GROUP, SPEED = "memory", "decoding"
TIMES = (1, 4, 16)
"""How many times the smallest set of images each case is measured on."""
FEW = 64
"""Images of the first run, which is not measured."""
WARM = "warm"


def _status(key: str) -> float:
    """Return a value of this process's status in MB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split(f"{key}:", 1)[1].split()[0]) / 1024


def prepare(case: Case, folder: Path, images: int) -> None:
    """Write a folder's plan.json, which `work` runs, and the inputs that it names."""
    folder.mkdir(parents=True, exist_ok=True)
    spec, inputs = case.prepare(folder, images)
    write_json(folder / "plan.json", {"spec": spec, "inputs": {role: str(path) for role, path in inputs.items()}})


def work(case: Case, folder: Path) -> dict[str, float]:
    """Run the step in this process, after that of the folder `warm` in it.

    Returns its peak in MB, the part of the growth that is mapped files in MB, and the seconds.
    """
    if (folder / WARM).is_dir():
        _run(case, folder / WARM)
        gc.collect()
        give_back_freed()
    import_module(case.entry.split(":")[0])
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the kernel forgets the peak until here
    before, files, started = _status("VmRSS"), _status("RssFile"), time.perf_counter()
    _run(case, folder)
    seconds = time.perf_counter() - started
    return {"peak": _status("VmHWM") - before, "mapped": _status("RssFile") - files, "seconds": seconds}


def _run(case: Case, folder: Path) -> None:
    plan = read_json(folder / "plan.json")
    inputs = {role: Path(path) for role, path in plan["inputs"].items()}
    outputs = {role: folder / f"out.{role}" for role in case.outputs}
    context = Context(inputs, outputs, folder, settings={"threads": 1}, log=lambda text: None)
    module, name = case.entry.split(":")
    getattr(import_module(module), name)(plan["spec"], context)


def measured(name: str, images: int) -> dict[str, float]:
    """Prepare a case and run it in a process of its own."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(CASES[name], folder / WARM, FEW)
        prepare(CASES[name], folder, images)
        command = [sys.executable, "-m", "benchmarks.memory", "--work", name, str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RobustftError(f"the case '{name}' failed", observed=done.stderr.strip()[-2000:])
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def growth(name: str, unit: int) -> list[Row]:
    """Return a row for each size of one case."""
    case, first = CASES[name], 0.0
    measurements = []
    for times in TIMES:
        run = measured(name, times * unit)
        first = first or run["peak"]
        size = times * unit * case.unit_bytes / 2**20
        measurements.append(
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
    return measurements


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
    peaks = [row for name, case in CASES.items() for row in growth(name, case.fewest[not quick])]
    return [*peaks, decoding(100 if quick else 400, repeats=3 if quick else 9)]


def main() -> None:
    """Measure, print, and store unless it is quick; or be the process that is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is stored")
    parser.add_argument("--work", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        name, folder = arguments.work
        sys.stdout.write(json.dumps(work(CASES[name], Path(folder))) + "\n")
        return
    from benchmarks.table import printed  # it names this module

    measurements = rows(quick=arguments.quick)
    sys.stdout.write(f"{printed(measurements)}\n")
    if not arguments.quick:
        path = ROOT / "benchmarks" / "results" / "memory.json"
        write_rows(path, measurements, topic="memory")
        sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
