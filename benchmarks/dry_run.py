"""Measure what planning takes: reading the configuration, making the plan, pricing it, and Snakemake's dry run.

    python benchmarks/dry_run.py --scale paper

Stores wall time, the largest memory of all its processes together, and whether torch was imported, in
benchmarks/dry_run/<scale>.json.
"""

from __future__ import annotations

import argparse
import datetime
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from robustft.config.load import Config
from robustft.cost import describe
from robustft.files import ROOT, read_json, write_json
from robustft.plan import Plan

SNAKEMAKE = """
import atexit, json, sys
from pathlib import Path
atexit.register(lambda: Path(sys.argv.pop()).write_text(json.dumps("torch" in sys.modules)))
from snakemake.cli import main
main(sys.argv[1:-1])
"""
"""Runs Snakemake and writes whether torch was imported to the file that the last argument names."""


def dry_run(scale: str) -> dict[str, Any]:
    """Run `snakemake -n` in an empty folder; return seconds, peak memory in MB, status and whether torch was imported.

    `cpu_seconds` is what it would take with a core of its own.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "torch.json"
        command = [sys.executable, "-c", SNAKEMAKE, "-n", "--quiet", "all", "--cores", "1", "--nolock"]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", folder]
        command += ["--workflow-profile", str(ROOT / "profiles" / "default")]
        command += ["--config", f"scale={scale}"]
        start, peak = time.perf_counter(), 0
        with open(Path(folder) / "output.txt", "w+", encoding="utf-8") as output:
            process = subprocess.Popen([*command, str(answer)], stdout=output, stderr=output)
            family = psutil.Process(process.pid)
            while process.poll() is None:
                peak = max(peak, _resident(family))
                time.sleep(0.02)
            seconds = time.perf_counter() - start
            output.seek(0)
            last = output.read().splitlines()[-3:]
        torch = read_json(answer) if answer.exists() else None
    problem = {"output": last} if process.returncode else {}
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    usage = {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": round(peak / 1e6)}
    return {**usage, "status": process.returncode, "torch_imported": torch, **problem}


def _resident(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its children; 0 once they are gone."""
    try:
        return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def planning(scale: str) -> dict[str, Any]:
    """Return the seconds of each part of planning in this process, the number of steps and the memory."""
    times = [time.perf_counter()]

    def lap() -> float:
        times.append(time.perf_counter())
        return round(times[-1] - times[-2], 3)

    config = Config(scale=scale)
    result: dict[str, Any] = {"config_s": lap()}
    plan = Plan(config)
    result["plan_s"] = lap()
    describe(plan)
    result["cost_s"] = lap()
    digests = {step.digest for step in plan.steps.values()}
    result["digests_s"] = lap()
    for step in plan.steps.values():
        step.sources()
    result["sources_s"] = lap()
    peak = psutil.Process().memory_info().rss
    return {**result, "steps": len(digests), "memory_mb": round(peak / 1e6), "torch_imported": "torch" in sys.modules}


def main() -> None:
    """Measure, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", default="demo")
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "dry_run", help="where the file goes")
    arguments = parser.parse_args()
    result = {
        "schema": "robustft-dry-run-1",
        "scale": arguments.scale,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "load_before": round(os.getloadavg()[0], 2),
        "planning": planning(arguments.scale),
        "snakemake": dry_run(arguments.scale),
    }
    path = arguments.folder / f"{arguments.scale}.json"
    write_json(path, result)
    sys.stdout.write(path.read_text(encoding="utf-8"))
    sys.stdout.write(f"written: {path}\n")


if __name__ == "__main__":
    main()
