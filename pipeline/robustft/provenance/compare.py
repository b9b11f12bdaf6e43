"""Comparing two results folders of one scale: their cells, their verdicts, and the bytes of their files.

A cell is equal if every seed counted the same, and within the spread if the two means are not further apart than the
95 % interval of their difference reaches: by Student's t over the seeds of both, or, with one seed, by the sampling of
the images. So of cells that were measured by chance anew, one in twenty differs.

A step that ran twice on one kind of machine, from the same specification, source, packages and inputs, must have
written the same bytes. One that has not is named, whatever its numbers are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.files import sha256_files
from robustft.provenance.record import read_record
from robustft.provenance.results_folder import Cell, Results
from robustft.report.intervals import images_sampled
from robustft.report.numbers import CELL
from robustft.report.statistics import Z95, two_sided_t

EQUAL, WITHIN, DIFFERS = "equal", "within spread", "differs"
ONLY = ("only in A", "only in B")


@dataclass(frozen=True)
class Pair:
    """One cell of two folders: None where a folder lacks it."""

    key: tuple[Any, ...]
    a: Cell | None
    b: Cell | None
    equal: bool

    @property
    def status(self) -> str:
        """Equal, within spread, differs, or in which folder alone it is."""
        if self.a is None or self.b is None:
            return ONLY[self.a is None]
        if self.equal:
            return EQUAL
        if any(self.a[part] != self.b[part] for part in ("unit", "images")):
            return DIFFERS
        return WITHIN if abs(self.a["mean"] - self.b["mean"]) <= spread(self.a, self.b) else DIFFERS

    @property
    def name(self) -> str:
        """The cell as `PAPER/EXPERIMENT/DATASET/METHOD/METRIC`, with its evaluation and split."""
        paper, cell = self.key[0], dict(zip(CELL, self.key[1:], strict=True))
        source = "" if cell["dataset"] == cell["trained_on"] else f"{cell['trained_on']} on "
        where = " ".join(str(cell[part]) for part in ("evaluation", "split") if cell[part] is not None)
        name = f"{paper}/{cell['experiment']}/{source}{cell['dataset']}/{cell['method']}/{cell['attack']}"
        return f"{name} ({where})" if where else name


def spread(a: Cell, b: Cell) -> float:
    """Return the 95 % half-width of the difference of two means; 0 for single values that are no shares."""
    seeds = (len(a["seeds"]), len(b["seeds"]))
    if min(seeds) > 1:
        variance = math.fsum(cell["sd"] ** 2 / n for cell, n in zip((a, b), seeds, strict=True))
        return two_sided_t(sum(seeds) - 2, 0.05) * math.sqrt(variance)
    if a["unit"] != "share":
        return 0.0
    return Z95 * math.hypot(*(images_sampled(cell["mean"], cell["images"], math.inf) for cell in (a, b)))


class Comparison:
    """Two results folders, A and B, cell by cell."""

    def __init__(self, a: Path, b: Path) -> None:
        self.a, self.b = Results(a), Results(b)
        if self.a.scale != self.b.scale:
            raise RobustftError(
                "the two folders are of different scales, whose numbers say nothing about each other",
                where=f"{a}, {b}",
                observed=f"{self.a.scale}, {self.b.scale}",
                next_step="compare two folders of one scale",
            )

    @cached_property
    def pairs(self) -> list[Pair]:
        """Every cell of either folder."""
        keys = dict.fromkeys([*self.a.cells, *self.b.cells])
        return [Pair(key, self.a.cells.get(key), self.b.cells.get(key), self._equal(key)) for key in keys]

    def _equal(self, key: tuple[Any, ...]) -> bool:
        a, b = self.a.cells.get(key), self.b.cells.get(key)
        same = a is not None and b is not None and all(a[part] == b[part] for part in ("mean", "sd", "seeds", "images"))
        return same and self.a.values.get(key) == self.b.values.get(key)

    @cached_property
    def flipped(self) -> dict[str, tuple[str, str]]:
        """The verdicts that differ, by claim."""
        a, b = self.a.verdicts, self.b.verdicts
        both = [key for key in a if key in b and a[key] != b[key]]
        return {"/".join(key): (a[key], b[key]) for key in both}

    @cached_property
    def roots_equal(self) -> bool:
        """Whether the two folders have the same numbers."""
        return self.a.content_root == self.b.content_root

    @cached_property
    def bytes(self) -> Counter[str]:
        """The number of output files that are equal byte for byte, and of those that are not."""
        return Counter("equal" if same else "different" for _, _, same in self._outputs)

    @cached_property
    def unrepeated(self) -> list[str]:
        """The steps that wrote other bytes although all that decides them was the same."""
        return list(dict.fromkeys(step for step, demanded, same in self._outputs if demanded and not same))

    @cached_property
    def _outputs(self) -> list[tuple[str, bool, bool]]:
        """Of each output that both have: its step, whether its bytes must be the same, and whether they are."""
        found = []
        for name in sorted(self.a.records & self.b.records):
            one, other = (read_record(side.folder / name).values for side in (self.a, self.b))
            demanded = _what_decides(one) == _what_decides(other)
            files = [(Path(name).parent / Path(entry["path"]).name) for entry in one["outputs"].values()]
            found += [(f"{one['step']['kind']}:{one['step']['id']}", demanded, file) for file in files]
        hashes = [sha256_files(str(side.folder / file) for _, _, file in found) for side in (self.a, self.b)]
        return [
            (step, demanded, hashes[0][str(self.a.folder / file)] == hashes[1][str(self.b.folder / file)])
            for step, demanded, file in found
            if step.partition(":")[0] != "manifest"  # it hashes records, which hold times
        ]

    @property
    def same(self) -> bool:
        """Whether nothing differs beyond the spread."""
        cells = all(pair.status in (EQUAL, WITHIN) for pair in self.pairs)
        return cells and not self.flipped and not self.unrepeated

    def counts(self) -> dict[str, Counter[str]]:
        """Return the number of cells of each status by paper."""
        counts: dict[str, Counter[str]] = {}
        for pair in self.pairs:
            counts.setdefault(pair.key[0], Counter())[pair.status] += 1
        return counts

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "folders": [str(self.a.folder), str(self.b.folder)],
            "scale": self.a.scale,
            "same": self.same,
            "content_roots": [self.a.content_root, self.b.content_root],
            "cells": [dict(_cell(pair)) for pair in self.pairs],
            "flipped_verdicts": {claim: list(verdicts) for claim, verdicts in self.flipped.items()},
            "files": dict(self.bytes),
            "unrepeated_steps": self.unrepeated,
        }


def _what_decides(record: dict[str, Any]) -> dict[str, Any]:
    """Return all that decides the bytes of a step's outputs."""
    environment, circumstances = record["environment"], record["circumstances"]
    return {
        "specification": record["step"]["spec_sha256"],
        "source": record["source"]["sha256"],
        "packages": [environment["python"], environment["packages"]],
        "machine": [circumstances.get(part) for part in ("machine", "processor")],
        "inputs": {role: entry["sha256"] for role, entry in record["inputs"].items()},
    }


def _cell(pair: Pair) -> Iterator[tuple[str, Any]]:
    yield "paper", pair.key[0]
    yield from zip(CELL, pair.key[1:], strict=True)
    yield "status", pair.status
    for side, cell in (("a", pair.a), ("b", pair.b)):
        yield side, cell and {part: cell[part] for part in ("mean", "sd", "seeds", "images", "unit")}
