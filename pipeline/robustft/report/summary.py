"""One line for each paper: the number of its measurements and of each verdict on its claims."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from robustft.errors import RobustftError
from robustft.files import read_json
from robustft.report.formats import Grid
from robustft.report.verdict_tables import VERDICTS


def summary(folder: Path, papers: list[str], *, scale: str) -> Grid:
    """Count runs, measurements, failed checks and verdicts in `<folder>/<paper>/numbers.json` and `verdicts.json`.

    Only verdicts that occur get a column. Raises RobustftError for a paper that has not been run to its end.
    """
    counts: dict[str, Counter[str]] = {}
    for paper in papers:
        files = [folder / paper / name for name in ("numbers.json", "verdicts.json")]
        for path in files:
            if not path.is_file():
                raise RobustftError(f"{paper} has not been run to its end", where=path, next_step="run snakemake")
        numbers, judged = map(read_json, files)
        measurements = numbers["measurements"]
        counts[paper] = Counter(verdict["verdict"] for verdict in judged["verdicts"])
        for table in judged.get("tables", []):  # long tables of published values, judged at the papers' own scale only
            counts[paper].update(table["verdicts"] if "cells" in table else {})
        counts[paper]["Methods"] = len({(one["experiment"], one["method"]) for one in measurements})
        counts[paper]["Runs"] = len({(o["experiment"], o["trained_on"], o["method"], o["seed"]) for o in measurements})
        counts[paper]["Measurements"] = len(measurements)
        counts[paper]["Flagged"] = sum(any(not check["ok"] for check in one["checks"]) for one in measurements)
    verdicts = [verdict for verdict in VERDICTS if any(count[verdict] for count in counts.values())]
    columns = ["Methods", "Runs", "Measurements", "Flagged", *verdicts]
    return Grid(
        title=f"What scale {scale} measured, and its verdicts on the papers' claims",
        header=["Paper", *columns],
        rows=[[paper, *(str(count[column]) for column in columns)] for paper, count in counts.items()],
        notes=["Flagged: a sanity check failed, so do not trust the measurement as it stands (a dagger in tables)."],
        row_names=list(counts),
        column_names=columns,
        alignment="l" + "r" * len(columns),
    )
