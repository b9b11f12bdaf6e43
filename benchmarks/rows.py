"""Rows of the table that `make bench` prints: one comparison each, with its spread, and what it was measured on.

Every topic is a module of benchmarks/ with `rows(*, quick: bool) -> list[Row]`. Less is better in every unit (seconds,
MB): a ratio above one means that ours is better by that factor. Rates belong in a row's note.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.metadata
import os
import platform
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError, RobustftError
from robustft.files import read_json, write_json
from robustft.provenance.environment import git_state

SCHEMA = "robustft-bench-1"
PACKAGES = ("torch", "torchvision", "numpy", "pyautoattack", "snakemake")


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of n measurements."""

    median: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise measurements; a single one is median and both quartiles.

        Raises:
            RobustftError: nothing was measured.
        """
        if not values:
            raise RobustftError("a spread of no measurements", expected="one number at least", observed="none")
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))


@dataclass(frozen=True)
class Row:
    """One comparison, or where `textbook` is None one measurement that stands alone.

    Args:
        group: the name of its group; rows of a group are printed together.
        name: the case.
        unit: of `textbook` and `ours`; less is better ("s", "MB").
        textbook: the measurement that ours is compared with.
        ours: the project's measurement.
        ratio: the paired ratios textbook / ours; a bar is compared with their median.
        bar: the required ratio, or None.
        note: the details: batch, threads, differences in the numbers.
        predicted: the ratio expected before measuring, or None.
    """

    group: str
    name: str
    unit: str
    textbook: Spread | None
    ours: Spread | None
    ratio: Spread | None = None
    bar: float | None = None
    note: str = ""
    predicted: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None without a bar, False without a ratio."""
        if self.bar is None:
            return None
        return self.ratio is not None and self.ratio.median >= self.bar


def machine(device: str = "cpu") -> dict[str, Any]:
    """Return hardware, threads, versions, commit and load, on which numbers depend; no names of hosts, no paths."""
    torch = sys.modules.get("torch")  # a benchmark of start-up must not import it
    about = {"system": platform.system(), "cpu": cpu(), "cores": os.cpu_count()}
    if device == "cuda" and torch is not None:
        about["gpu"] = torch.cuda.get_device_name()
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "hardware": about,
        "device": device,
        "threads": None if torch is None else torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "versions": versions,
        "git": git_state(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def cpu() -> str:
    """Return the processor's name with family and model, where the system tells it."""
    about = Path("/proc/cpuinfo")
    text = about.read_text(encoding="utf-8") if about.exists() else ""
    matches = [re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE) for key in ("model name", "cpu family", "model")]
    name = [match.group(1) for match in matches if match]
    return f"{name[0]} (family {name[1]}, model {name[2]})" if len(name) == 3 else platform.processor() or "CPU"


def write_rows(path: str | Path, rows: Sequence[Row], *, topic: str, device: str = "cpu", quick: bool = False) -> None:
    """Store a topic's rows with what they were measured on."""
    head = {"schema": SCHEMA, "topic": topic, "quick": quick, **machine(device)}
    write_json(path, {**head, "rows": [asdict(row) for row in rows]})


def read_rows(path: str | Path) -> tuple[dict[str, Any], list[Row]]:
    """Return what the stored rows were measured on, and the rows.

    Raises:
        IntegrityError: the file is not one that `write_rows` wrote.
    """
    about = read_json(path)
    try:
        if about["schema"] != SCHEMA:
            raise IntegrityError("rows of another schema", where=path, expected=SCHEMA, observed=about["schema"])
        rows = [_row(entry) for entry in about.pop("rows")]
    except (KeyError, TypeError) as error:
        raise IntegrityError("no file of rows", where=path, expected=SCHEMA, observed=repr(error)) from error
    return about, rows


def _row(entry: dict[str, Any]) -> Row:
    spreads = ("textbook", "ours", "ratio")
    return Row(**{**entry, **{key: Spread(**entry[key]) for key in spreads if entry[key] is not None}})


def main() -> None:
    """Measure one topic in this fresh process and store its rows."""
    parser = argparse.ArgumentParser(description="Measure one topic and store its rows.")
    parser.add_argument("topic", help="a module of benchmarks/")
    parser.add_argument("file", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rows = importlib.import_module(f"benchmarks.{arguments.topic}").rows(quick=arguments.quick)
    write_rows(arguments.file, rows, topic=arguments.topic, quick=arguments.quick)


if __name__ == "__main__":
    main()
