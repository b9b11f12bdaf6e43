"""The `figure` step: gather what was measured, call the figure's drawing function, write SVG, PDF and caption."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd

from robustft import escape
from robustft.evaluate.ledger import Outcome, read_ledger
from robustft.files import read_json, write_text
from robustft.report.basis import basis
from robustft.report.cells import cells_of
from robustft.report.figures.style import save
from robustft.report.numbers import joined
from robustft.runtime.components import locate
from robustft.runtime.context import Context


@dataclass(frozen=True)
class Material:
    """All that a figure may show of its methods, and how to show each of them."""

    history: pd.DataFrame
    """One row for each trained run and epoch: `dataset`, `method`, `seed`, `epoch` and whatever the runs logged."""
    titles: dict[str, str]
    """Of the methods."""
    colors: dict[str, str]
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Its columns' cells of numbers.json: `dataset`, `method`, `attack`, `mean`, `sd`, `unit`, `images`, `seeds`."""
    measurements: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Its columns' measurements: `dataset`, `method`, `seed`, `attack`, `accuracy`, `images`, `interval`."""
    order: list[str] = field(default_factory=list)
    """The methods in the figure's order."""
    columns: list[str] = field(default_factory=list)
    """The attacks and metrics of training that it shows, in the figure's order; each attack by one evaluation."""
    attacks: dict[str, str] = field(default_factory=dict)
    """Titles of the attacks and of the metrics of training."""
    datasets: dict[str, str] = field(default_factory=dict)
    """Titles of the data sets."""
    elsewhere: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Cells of the figure's `metric` on the data sets that evaluations list."""
    published: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Published values to show beside: `metric`, `method`, `column`, `value`; empty at a scale of stand-ins."""
    ledgers: dict[tuple[str, int, str, str], list[Path]] = field(default_factory=dict)
    """Ledgers by (method, seed, data set, attack), if the figure asked for them."""

    @property
    def methods(self) -> list[str]:
        """The methods, in the figure's order."""
        return self.order or list(dict.fromkeys(self.history["method"]))

    def summary(self, method: str, column: str) -> pd.DataFrame:
        """Return mean, min and max over seeds of a column at each epoch where it was measured."""
        rows = self.history[self.history["method"] == method]
        if column not in rows:
            return pd.DataFrame(columns=["mean", "min", "max"])
        return rows.dropna(subset=[column]).groupby("epoch")[column].agg(["mean", "min", "max"])

    def outcomes(self, method: str, attack: str, seed: int, dataset: str | None = None) -> Outcome:
        """Return what an attack did to each image; the data set may be left out if there is one only."""
        found = []
        for (*key, run_dataset, run_attack), paths in self.ledgers.items():
            if (*key, run_attack) == (method, seed, attack) and dataset in (None, run_dataset):
                found += [read_ledger(path)[attack] for path in paths]
        return joined(found)


def _gathered(spec: dict[str, Any], context: Context) -> Material:
    frames = []
    for member in spec["members"]:
        frame = pd.read_csv(context.inputs[member["history"]])
        frames.append(frame.assign(dataset=member["dataset"], method=member["method"], seed=member["seed"]))
    numbers = read_json(context.inputs["numbers"])
    ledgers: dict[tuple[str, int, str, str], list[Path]] = {}
    for member in spec["ledgers"]:
        for attack in (name for name, one in spec["shown"].items() if one["evaluation"] == member["evaluation"]):
            key = member["method"], member["seed"], member["dataset"], attack
            ledgers.setdefault(key, []).append(context.inputs[member["ledger"]])
    columns = spec["figure"].get("columns", [])

    def shown(kind: str) -> pd.DataFrame:
        rows = [row for column in columns for row in cells_of(spec["figure"], spec["shown"], numbers[kind], column)]
        return pd.DataFrame([row for row in rows if row["method"] in spec["figure"]["methods"]])

    def elsewhere() -> pd.DataFrame:
        across = {**spec["figure"], "across": "datasets"}
        rows = cells_of(across, spec["elsewhere"], numbers["cells"], across["metric"])
        return pd.DataFrame([row for row in rows if row["method"] in spec["figure"]["methods"]])

    cells = shown("cells")
    history = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["method", "seed", "dataset"])
    run = {*history["method"], *cells.get("method", ())}
    return Material(
        history=history,
        titles=spec["methods"],
        colors=spec["colors"],
        cells=cells,
        measurements=shown("measurements"),
        order=[method for method in spec["figure"]["methods"] if method in run],
        columns=columns,
        attacks=spec["attacks"],
        datasets=spec["datasets"],
        elsewhere=elsewhere() if "elsewhere" in spec else pd.DataFrame(),
        published=pd.DataFrame(spec.get("published", [])),
        ledgers=ledgers,
    )


def figure(spec: dict[str, Any], context: Context) -> None:
    """Draw one figure and write its caption.

    The module that draws it says in `MARKS` what points, bars and bands are: means, ranges, deviations or intervals.
    """
    material = _gathered(spec, context)
    draw = locate(spec["figure"]["kind"])
    drawing = draw(material, title=spec["figure"]["title"])
    save(drawing, svg=context.outputs["svg"], pdf=context.outputs.get("pdf"))
    measured = [cell for cell in material.cells.to_dict("records") if cell["unit"] == "share"]
    about = spec["figure"]
    marks = getattr(import_module(draw.__module__), "MARKS", "")
    sentences = [f"**{about['title']}.**", about["caption"], *([marks] if marks else []), *basis(spec, about, measured)]
    write_text(context.outputs["caption"], escape.markdown(" ".join(sentences)) + "\n")
