"""A results folder by itself: numbers, verdicts and records of one scale, without the plan that made them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError, RobustftError
from robustft.files import read_json
from robustft.provenance.lineage import judged_claims
from robustft.report.content import content_root
from robustft.report.numbers import CELL

Cell = dict[str, Any]
"""A cell of numbers.json."""


class Results:
    """The results of one scale in a folder such as `results/demo`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = sorted(folder.glob("*/numbers.json"))
        if not files:
            raise _no_results(folder)
        self.numbers = {path.parent.name: _numbers(path) for path in files}
        self.scale = str(next(iter(self.numbers.values()))["scale"])

    @cached_property
    def cells(self) -> dict[tuple[Any, ...], Cell]:
        """The cells by paper and by what identifies them in the paper."""
        return {
            (paper, *(cell[part] for part in CELL)): cell
            for paper, numbers in self.numbers.items()
            for cell in numbers["cells"]
        }

    @cached_property
    def values(self) -> dict[tuple[Any, ...], dict[int, float]]:
        """What each seed of a cell measured, by the key of the cell."""
        values: dict[tuple[Any, ...], dict[int, float]] = {}
        for paper, numbers in self.numbers.items():
            for one in numbers["measurements"]:
                key = (paper, *(one[part] for part in CELL))
                values.setdefault(key, {})[one["seed"]] = one["accuracy"]
        return values

    @cached_property
    def verdicts(self) -> dict[tuple[str, str], str]:
        """The verdict on each claim, by paper and claim."""
        return {
            (paper, claim): str(entry["verdict"])
            for paper in self.numbers
            if (path := self.folder / paper / "verdicts.json").is_file()
            for claim, entry in judged_claims(read_json(path)).items()
        }

    @property
    def content_root(self) -> str:
        """The hash over the numbers alone."""
        return content_root(self.numbers)

    @property
    def records(self) -> set[str]:
        """The records, relative to the folder."""
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*.record.json")}


def _numbers(path: Path) -> dict[str, Any]:
    numbers = read_json(path)
    lacking = [part for part in ("scale", "measurements", "trainings", "cells") if part not in numbers]
    lacking += [part for cell in numbers.get("cells", ())[:1] for part in CELL if part not in cell]
    if lacking:
        raise IntegrityError(
            "a numbers.json is not of this version",
            where=path,
            expected=f"the key '{lacking[0]}', in it or in its cells",
            observed="no such key",
            next_step="make it again with snakemake; nothing is trained or attacked again for it",
        )
    return numbers  # type: ignore[no-any-return]


def _no_results(folder: Path) -> RobustftError:
    """Return the error for a folder without results, with the folders around it that have some."""
    near = sorted({str(path.parent.parent) for pattern in ("*/*/numbers.json", "results/*/*/numbers.json")
                   for path in folder.glob(pattern)})  # fmt: skip
    return RobustftError(
        "the folder holds no results of a scale",
        where=folder,
        expected="a folder such as results/demo, with PAPER/numbers.json in it",
        observed="no such folder" if not folder.is_dir() else "no */numbers.json",
        next_step=f"did you mean {', '.join(near)}?" if near else "run snakemake there first",
    )
