"""Measure the topics side by side and print one table: `make bench`.

    python -m benchmarks.table                                # measure every topic, an hour in all
    python -m benchmarks.table --quick                        # smaller, a minute each; nothing is stored
    python -m benchmarks.table --stored                       # print what is stored, measure nothing
    python -m benchmarks.table --topics training_step dag
    python -m benchmarks.table --resume                       # only topics that are not stored of this commit

A topic is a module of benchmarks/ with `rows(*, quick: bool) -> list[Row]`. Its rows go to
benchmarks/results/TOPIC.json and the whole table, with the notes in full, to benchmarks/results/table.md. A topic that
fails is reported and the others go on. The exit status is 1 if a topic failed or a bar was not reached.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, Spread, machine, read_rows
from robustft.errors import RobustftError
from robustft.files import ROOT, write_text

TOPICS = {"training_step": 35, "autoattack": 10, "dag": 10, "memory": 5}
"""About how many minutes each takes on one core."""
RESULTS = ROOT / "benchmarks" / "results"
HEAD = ("group", "case", "textbook", "ours", "ratio", "predicted", "bar", "met")
NOTE = 200
"""Most characters of a note that are printed; results/table.md has all of it."""
Topic = tuple[dict[str, Any], list[Row]]
"""What the rows were measured on, and the rows."""
Measure = Callable[[str], Topic]


def number(value: float) -> str:
    """Return a number with three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def words(spread: Spread | None, unit: str = "") -> str:
    """Return median, unit and quartiles; a dash for what was not measured."""
    if spread is None:
        return "-"
    quartiles = "" if spread.n == 1 else f" ({number(spread.low)}-{number(spread.high)})"
    return f"{number(spread.median)}{' ' if unit else ''}{unit}{quartiles}"


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's cells, under `HEAD`."""
    met = {None: "", True: "yes", False: "NO"}[row.met]
    bar, predicted = ("-" if value is None else number(value) for value in (row.bar, row.predicted))
    both = words(row.textbook, row.unit), words(row.ours, row.unit)
    return (row.group, row.name, *both, words(row.ratio), predicted, bar, met)


def printed(rows: Sequence[Row]) -> str:
    """Return rows as aligned lines, each group's name once."""
    lines = [HEAD, *map(cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text, group = [], None
    for line in lines:
        first_cell = "" if line[0] == group else line[0]
        group = line[0]
        text.append("  ".join(cell.ljust(w) for cell, w in zip((first_cell, *line[1:]), widths, strict=True)).rstrip())
    return "\n".join(text)


def measured_on(about: Mapping[str, Any]) -> str:
    """Return hardware, threads, load, versions, commit and date as one line."""
    git, hardware = about["git"], about["hardware"]
    threads = "torch not used" if about["threads"] is None else f"threads {about['threads']}"
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    commit = f"commit {(git['commit'] or 'unknown')[:12]}{'' if git['clean'] else ' with changes'}"
    machine = f"{hardware.get('gpu', hardware['cpu'])}, {hardware['cores']} cores, {threads}, load {about['load']}"
    return f"{machine}; {versions}; {commit}; {about['date']}"


def titled(topic: str, about: Mapping[str, Any]) -> str:
    """Return a topic's heading."""
    return f"{topic} (QUICK: small and rough)" if about["quick"] else topic


def sections(topics: Mapping[str, Topic]) -> str:
    """Return for each topic a heading, what it was measured on, its table, and the notes, shortened."""
    parts = []
    for topic, (about, rows) in topics.items():
        notes = [f"{row.name}: {row.note}" for row in rows if row.note]
        short = [note if len(note) <= NOTE else f"{note[: NOTE - 3].rstrip()}..." for note in notes]
        parts.append("\n".join([titled(topic, about), measured_on(about), "", printed(rows), "", *short, ""]))
    return "\n".join(parts)


def markdown(topics: Mapping[str, tuple[Mapping[str, Any], Sequence[Row]]], failures: Mapping[str, str]) -> str:
    """Return all topics as Markdown: for each what it was measured on, its table, and the rows' notes."""
    parts = ["# Benchmarks", "", "Written by `make bench`. Median (quartiles); ratio = textbook / ours, paired.", ""]
    for topic, (about, rows) in topics.items():
        parts += [f"## {titled(topic, about)}", "", f"{measured_on(about)}.", ""]
        parts += ["| " + " | ".join(HEAD[1:]) + " |", "| --- " * len(HEAD[1:]) + "|"]
        parts += ["| " + " | ".join(cells(row)[1:]) + " |" for row in rows]
        parts += ["", *(f"- {row.name}: {row.note}" for row in rows if row.note), ""]
    parts += [f"## {topic}\n\nFAILED: {reason}\n" for topic, reason in failures.items()]
    return "\n".join(parts)


def measured(topic: str, path: Path, *, quick: bool) -> None:
    """Measure a topic in a process of its own, and store its rows.

    It needs its own process: the peak memory of a process includes that of its parent when it starts.
    Raises RobustftError if it fails.
    """
    command = [sys.executable, "-m", "benchmarks.rows", topic, str(path), *["--quick"][: int(quick)]]
    status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode
    if status:
        raise RobustftError(f"it ended with status {status}; the reason is printed above")


def collect(
    topics: Sequence[str], measure: Measure, log: Callable[[str], None]
) -> tuple[dict[str, Topic], dict[str, str]]:
    """Return the measured topics, and why the others failed; log the progress."""
    results: dict[str, Topic] = {}
    failures: dict[str, str] = {}
    for position, topic in enumerate(topics):
        left = sum(TOPICS.get(name, 1) for name in topics[position:])
        log(f"{topic} ({position + 1} of {len(topics)}; at most about {left} min left)")
        started = time.monotonic()
        try:
            results[topic] = measure(topic)
        except Exception as error:  # noqa: BLE001 - after the failure of one topic the others are measured
            failures[topic] = f"{type(error).__name__}: {error}"
            log(f"  FAILED after {time.monotonic() - started:.0f} s")
            log(str(error) if isinstance(error, RobustftError) else traceback.format_exc())
        else:
            log(f"  {len(results[topic][1])} rows in {time.monotonic() - started:.0f} s")
    return results, failures


def finished(path: Path) -> bool:
    """Tell whether a topic's rows are stored in full, of this commit, on this machine and with these versions."""
    if not path.is_file():
        return False
    then, now = read_rows(path)[0], machine()
    alike = all(then[key] == now[key] for key in ("hardware", "versions"))
    return alike and not then["quick"] and then["git"]["commit"] == now["git"]["commit"]


def table(topics: Sequence[str], *, quick: bool, stored: bool, resume: bool = False, folder: Path = RESULTS) -> int:
    """Measure or read the topics, print the table, store what was measured in full; return the exit status.

    With `resume` topics that are `finished` are read: an interrupted call goes on with the topic that it was at.
    """
    with tempfile.TemporaryDirectory() as rough:
        place = Path(rough) if quick else folder

        def measure(topic: str) -> Topic:
            path = place / f"{topic}.json"
            if not stored and not (resume and not quick and finished(path)):
                measured(topic, path, quick=quick)
            return read_rows(path)

        results, failures = collect(topics, measure, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    rows = [row for _, part in results.values() for row in part]
    missed = [row.name for row in rows if row.met is False]
    sys.stdout.write(f"{sections(results)}\n")
    for topic, reason in failures.items():
        sys.stdout.write(f"FAILED  {topic}: {reason.splitlines()[0]}\n")
    sys.stdout.write(f"{sum(row.met is True for row in rows)} bars reached, {len(missed)} not\n")
    if not quick and not stored:
        topics_stored = {path.stem: read_rows(path) for path in sorted(folder.glob("*.json"))}
        write_text(folder / "table.md", markdown(topics_stored, failures))
    return 1 if failures or missed else 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--topics", nargs="+", choices=TOPICS, default=list(TOPICS), help="default: all")
    parser.add_argument("--quick", action="store_true", help="smaller and rougher; nothing is stored")
    parser.add_argument("--stored", action="store_true", help="print the stored rows, measure nothing")
    parser.add_argument("--resume", action="store_true", help="keep topics that are stored of this commit")
    arguments = parser.parse_args()
    how = {"quick": arguments.quick, "stored": arguments.stored, "resume": arguments.resume}
    sys.exit(table(arguments.topics, **how))


if __name__ == "__main__":
    main()
