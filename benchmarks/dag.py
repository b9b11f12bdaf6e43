"""What the DAG costs besides its work: starting a step, planning, a second run, hashing, the audit.

    python -m benchmarks.rows dag FILE [--quick]        # everything; stored in FILE
    python -m benchmarks.dag --only "tiny job"          # a part; printed

In the textbook's column is the floor: the least that the same job can take with these libraries. A row's note names
it. The bar is a ratio of 0.5: ours may take twice the floor. benchmarks/dag/walls.json, if it exists, is a list of
{demo_s, demo_second_s, test_s: seconds, machine, commit: text}; each of its times is a row against its limit (`MOST`).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.paired import paired, paired_processes
from benchmarks.rows import Row, Spread
from robustft.config.load import Config
from robustft.errors import RobustftError
from robustft.files import ROOT, canonical_json, read_json, sha256_file, sha256_files, write_json
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.job import job_path, write_jobs
from robustft.provenance.run import run_step

BAR = 0.5
WALLS = ROOT / "benchmarks" / "dag" / "walls.json"
MOST = {
    "demo_s": ("make demo", 720.0),
    "demo_second_s": ("make demo, a second time", 15.0),
    "test_s": ("make test", 900.0),
}
"""What each wall time measures, and its limit in seconds."""

START = """
import atexit, gc, sys
atexit.register(gc.freeze)
import robustft.cli.parser
from robustft.cli import steps
from robustft.provenance.job import read_job
from robustft.provenance.run import work_of
step = read_job(sys.argv[1])
work_of(step)
if step.kind == "train":
    import torch
    from robustft.train.optim import build_optimizer
    build_optimizer(torch.nn.Linear(1, 1), step.spec["recipe"], fused=False)
"""
"""What `python -m robustft job FILE`, as the rules call it, does before it opens inputs.

It reads the job file, imports everything that the step names, builds an optimiser for a training, for which torch
imports more, and ends. It checks no input, makes no scratch folder and writes no record.
"""

IMPORTS = {
    "train": "import torch",
    "attack": "import torch, pyarrow.parquet",
    "data": "import numpy, safetensors",
    "numbers": "import numpy, pyarrow.parquet",
    "verdicts": "import numpy, pyarrow.parquet",
    "table": "import numpy, pyarrow.parquet",
    "figure": "import pandas, pyarrow.parquet, matplotlib.pyplot",
}
"""What a step of each kind cannot do without."""

FLAT = """
rule all:
    input: [f"out/{{n}}.txt" for n in range({jobs})]

rule job:
    output: "out/{{n}}.txt"
    shell: "touch {{output}}"
"""
"""As many jobs, with nothing between them."""

GRAPH = """
import json
READS = json.load(open("reads.json"))

rule all:
    input: [f"out/{{n}}.{{end}}" for n in range({jobs}) for end in "ab"]

rule job:
    input: lambda wildcards: READS[int(wildcards.n)]
    output: "out/{{n}}.a", "out/{{n}}.b"
    shell: "touch {{output}}"
"""
"""As many jobs that read as much from each other, and nothing else: no parameters, logs, messages, resources."""


FILES = """
import json
JOBS = json.load(open("jobs.json"))

rule all:
    input: [path for reads, writes in JOBS for path in writes]

for number, (reads, writes) in enumerate(JOBS):
    rule:
        name: f"job_{{number}}"
        input: reads
        output: writes
        shell: "touch {{output}}"
"""
"""As many jobs that read and write the same files, and nothing else."""


def snakemake(snakefile: Path, folder: Path, *arguments: str) -> list[str]:
    """Return the command that runs Snakemake in `folder`."""
    where = ["--snakefile", str(snakefile), "--directory", str(folder), "--cores", "1", "--nolock"]
    return [sys.executable, "-m", "snakemake", *where, *arguments]


def ours(scale: str, folder: Path, *arguments: str) -> list[str]:
    """Return the command that runs this project's DAG in `folder`."""
    profile = ["--workflow-profile", str(ROOT / "profiles" / "default")]
    return snakemake(ROOT / "Snakefile", folder, *profile, *arguments, "--config", f"scale={scale}")


def representative(plan: Plan) -> Iterator[tuple[str, Step]]:
    """Yield a step of each kind, for training one of each family of networks, with a name for it."""
    for title, module in (("ResNet", ".resnet:"), ("ViT", ".vit:"), ("CLIP", ".clip:")):
        fits = (s for s in plan.of_kind("train") if module in s.spec["backbone"]["implementation"])
        if step := next(fits, None):
            yield f"train, {title}", step
    for kind in ("attack", "data", "numbers", "verdicts", "table", "figure"):
        yield kind, plan.of_kind(kind)[-1]


def start_up(plan: Plan, *, repeats: int, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """Yield a row for the start-up of each kind of step, or of some."""
    for name, step in representative(plan):
        if only and name not in only:
            continue
        floor = IMPORTS[step.kind]
        commands = {
            "textbook": [sys.executable, "-c", floor],
            "ours": [sys.executable, "-c", START, str(job_path(step, plan.scale))],
        }
        note = f"process from start to end, no work done; floor: python -c '{floor}'"
        with tempfile.TemporaryDirectory() as where, contextlib.chdir(where):
            write_jobs([step], plan.scale)
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
            result = paired_processes(
                commands, repeats=repeats, warmup=0 if only else 1, folder=Path(where), environment=environment
            )
        yield result.row("start-up of a step", name, bar=BAR, note=note)


def write_floor(text: str, folder: Path, plan: Plan) -> Path:
    """Write a Snakefile of as many jobs as the plan has steps, and what they read, and return its path."""
    number = {step.key: n for n, step in enumerate(plan.steps.values())}
    record = {step.record: f"out/{number[step.key]}.b" for step in plan.steps.values()}

    def read(step: Step) -> list[str]:
        producers = [plan.producer(path) for path in step.inputs.values()]
        files = [f"out/{number[producer.key]}.a" for producer in producers if producer]
        return [*dict.fromkeys(files), *(record[path] for path in dict.fromkeys(step.upstream.values()))]

    folder.mkdir(parents=True)
    write_json(folder / "reads.json", [read(step) for step in plan.steps.values()])
    path = folder / "Snakefile"
    path.write_text(text.format(jobs=len(number)), encoding="utf-8")
    return path


def dry_run(scale: str, *, repeats: int) -> Iterator[Row]:
    """Yield rows for planning a scale that has no results yet."""
    plan = Plan(Config(scale=scale))
    for name, text in (("as many jobs that read nothing", FLAT), ("as many jobs that read as much", GRAPH)):
        with tempfile.TemporaryDirectory() as where:
            folder = Path(where)
            floor = write_floor(text, folder / "floor", plan)
            quiet = ("-n", "--quiet", "all")
            commands = {
                "textbook": snakemake(floor, folder / "floor", *quiet),
                "ours": ours(scale, folder / "ours", *quiet),
            }
            result = paired_processes(commands, repeats=repeats, warmup=0)
        note = f"snakemake -n of scale {scale}, {len(plan.steps)} steps; floor: a Snakefile of {name}"
        yield result.row("dry run", f"{scale}, over {name}", bar=BAR, note=note)


def _finish(plan: Plan, folder: Path) -> None:
    """Write every file of a plan, with its own path as content, so that Snakemake sees a finished run."""
    for step in plan.steps.values():
        for path in (*step.outputs.values(), step.record):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(path, encoding="utf-8")


def jobs_of(plan: Plan) -> list[tuple[list[str], list[str]]]:
    """Return what each job of the plan's DAG reads and writes; a bundle is one job."""
    alone = [(step,) for step in plan.steps.values() if step.key not in plan.bundled]
    jobs = []
    for steps in (*alone, *(bundle.steps for bundle in plan.bundles())):
        writes = [path for step in steps for path in (*step.outputs.values(), step.record)]
        reads = [path for step in steps for path in (*step.inputs.values(), *step.upstream.values())]
        jobs.append((sorted(set(reads) - set(writes)), writes))
    return jobs


def no_op(scale: str, *, repeats: int) -> Iterator[Row]:
    """Yield rows for running a finished DAG again."""
    plan = Plan(Config(scale=scale))
    jobs = jobs_of(plan)
    for name, text in (("as many jobs that read nothing", FLAT), ("as many jobs with the same files", FILES)):
        with tempfile.TemporaryDirectory() as where:
            folder = Path(where)
            _finish(plan, folder / "ours")
            _finish(plan, folder / "floor")
            (folder / "floor" / "out").mkdir()
            for number in range(len(jobs)):
                (folder / "floor" / "out" / f"{number}.txt").touch()
            write_json(folder / "floor" / "jobs.json", jobs)
            floor = folder / "floor" / "Snakefile"
            floor.write_text(text.format(jobs=len(jobs)), encoding="utf-8")
            commands = {
                "textbook": snakemake(floor, folder / "floor", "--quiet", "all"),
                "ours": ours(scale, folder / "ours", "--quiet", "all"),
            }
            touch = {side: [*command, "--touch", "--forceall"] for side, command in commands.items()}
            paired_processes(touch, repeats=1, warmup=0)
            result = paired_processes(commands, repeats=repeats, warmup=0)
        note = f"nothing to do, {len(jobs)} jobs, {len(plan.steps)} steps; floor: a Snakefile of {name}"
        yield result.row("no-op run", f"{scale}, over {name}", bar=BAR, note=note)


def hashing(*, megabytes: int, repeats: int) -> Iterator[Row]:
    """Yield rows for the SHA-256 of one large file and of many."""
    with tempfile.TemporaryDirectory() as where:
        large, data = Path(where) / "large", os.urandom(megabytes << 20)
        large.write_bytes(data)
        one = paired(
            {"textbook": lambda: hashlib.sha256(data).hexdigest(), "ours": lambda: sha256_file(large)}, repeats=repeats
        )
        rate = (megabytes << 20) / 1e6 / one.spread("ours").median
        note = f"{megabytes} MiB, {rate:,.0f} MB/s; floor: hashlib on the same bytes in memory"
        yield one.row("hashing", "one file", bar=BAR, note=note)
        names = [str(large.with_name(f"{number}")) for number in range(megabytes)]
        for number, name in enumerate(names):
            Path(name).write_bytes(data[number << 20 : (number + 1) << 20])
        many = paired(
            {"textbook": lambda: hashlib.sha256(data).hexdigest(), "ours": lambda: sha256_files(names)}, repeats=repeats
        )
        note = f"{megabytes} files of 1 MiB, as the audit does it; floor: hashlib on the same bytes, one thread"
        yield many.row("hashing", "many files", bar=BAR, note=note)


def tiny(scale: str, *, repeats: int) -> Iterator[Row]:
    """Yield rows for a step that does hardly any work: in a process of its own, and within one."""
    step = Plan(Config(scale=scale)).step("data", "digits")
    with tempfile.TemporaryDirectory() as where, contextlib.chdir(where):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
        write_jobs([step], scale)
        commands = {
            "textbook": [sys.executable, "-c", IMPORTS["data"]],
            "ours": [sys.executable, "-m", "robustft", "job", str(job_path(step, scale))],
        }
        alone = paired_processes(commands, repeats=repeats, folder=Path(where), environment=environment)
        note = f"decodes the digits, with its record, as its rule calls it; floor: python -c '{IMPORTS['data']}'"
        yield alone.row("time per tiny job", "a process", bar=BAR, note=note)
        yield _within(Path(where), repeats=repeats)


def _within(folder: Path, *, repeats: int) -> Row:
    """Return a row for what `run_step` adds in a process that runs many steps."""
    outputs = {"manifest": str(folder / "manifest.json")}
    step = Step(kind="manifest", id="none", spec={"scale": "none", "records": []}, inputs={}, outputs=outputs)
    record: dict[str, Any] = {}

    def bare() -> None:
        with FileLock("lock", blocking=False):
            write_json(outputs["manifest"], {})
            record["sha256"] = sha256_file(outputs["manifest"])
            write_json(step.record, record)

    def stepped() -> None:
        run_step(step, log=lambda _: None)

    before = Path.cwd()
    os.chdir(folder)  # the scratch folder lies in the working directory
    try:
        stepped()
        record |= read_json(step.record)
        result = paired({"textbook": bare, "ours": stepped}, repeats=20 * repeats)
    finally:
        os.chdir(before)
    note = "run_step of an empty manifest; floor: lock, write output and record atomically, hash the output"
    return result.row("time per tiny job", "within a process", bar=BAR, note=note)


def log(text: str) -> None:
    """Print a line beside the table."""
    sys.stderr.write(f"{text}\n")


def auditing(scale: str, *, repeats: int) -> Iterator[Row]:
    """Yield a row for the audit of a finished run; log and yield nothing if there is no run or it has findings."""
    plan = Plan(Config(scale=scale))
    files = [path for step in plan.steps.values() for path in (*step.outputs.values(), step.record)]
    missing = sum(not (ROOT / path).is_file() for path in files)
    if missing:
        log(f"  no row for the audit: no finished {scale} here, {missing} of its {len(files)} files are missing")
        return
    with tempfile.TemporaryDirectory() as where:
        names = Path(where) / "files.json"
        names.write_text(canonical_json(files), encoding="utf-8")
        bare = (
            "import hashlib,json,sys\nfor f in json.load(open(sys.argv[1])): hashlib.file_digest(open(f,'rb'),'sha256')"
        )
        floor = f"{IMPORTS['numbers']}\n{bare}"
        commands = {
            "textbook": [sys.executable, "-c", floor, str(names)],
            "ours": [sys.executable, "-m", "robustft", "audit", "--scale", scale],
        }
        try:
            result = paired_processes(commands, repeats=repeats)
        except RobustftError as error:
            log(f"  no row for the audit of {scale}, which fails: {' '.join(str(error).split())[:300]}")
            return
    note = f"{len(files)} files; floor: import what it needs and hash them; the audit also counts every number again"
    yield result.row("audit", scale, note=note)


def walls(path: Path = WALLS) -> Iterator[Row]:
    """Yield a row for each wall time of a whole run; log and yield nothing if there is none."""
    if not path.is_file():
        log("  no rows for whole runs: there is no benchmarks/dag/walls.json")
        return
    for wall in read_json(path):
        machine = wall.get("machine") or "an unnamed machine"
        note = f"wall time of one run, noted by hand, commit {wall.get('commit') or 'unknown'}; textbook: its limit"
        for key, (name, most) in MOST.items():
            if wall.get(key) is None:
                continue
            seconds = float(wall[key])
            limit, duration, ratio = (Spread.of([value]) for value in (most, seconds, most / seconds))
            yield Row("whole runs", f"{name}: {machine}", "s", limit, duration, ratio, 1.0, note)


def rows(*, quick: bool, only: str = "") -> list[Row]:
    """Measure everything, or `only` the part whose name has this in it; `quick` takes the smallest scale once."""
    small, large = "smoke", "smoke" if quick else "paper"
    plan = Plan(Config(scale=small if quick else "demo"))
    kinds = ("train, ResNet", "train, ViT", "table") if quick else ()
    parts: dict[str, Iterator[Row]] = {
        "start-up": start_up(plan, repeats=1 if quick else 5, only=kinds),
        "dry run": dry_run(large, repeats=1 if quick else 3),
        "no-op run": no_op(plan.scale, repeats=1 if quick else 5),
        "hashing": hashing(megabytes=16 if quick else 256, repeats=3 if quick else 9),
        "tiny job": tiny(plan.scale, repeats=1 if quick else 7),
        "audit": auditing("demo", repeats=1 if quick else 3),
        "whole runs": walls(),
    }
    return [row for name, part in parts.items() if only in name for row in part]


def main() -> None:
    """Measure and print; nothing is stored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller and rougher")
    parser.add_argument(
        "--only", default="", metavar="PART", help="start-up, dry run, no-op run, hashing, tiny job, ..."
    )
    parsed = parser.parse_args()
    from benchmarks.table import printed  # it names this module

    sys.stdout.write(f"{printed(rows(quick=parsed.quick, only=parsed.only))}\n")


if __name__ == "__main__":
    main()
