"""The `figure` step: read histories, call the figure's drawing function, write SVG, PDF and caption."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.context import Context
from pipeline.files import write_text
from pipeline.report.figures.style import save


@dataclass(frozen=True)
class Curves:
    """All histories of a figure's runs, one row for each run and epoch, with how to show each method."""

    history: pd.DataFrame
    """Columns `dataset`, `method`, `seed`, `epoch` and whatever the runs logged."""
    titles: dict[str, str]
    colors: dict[str, str]

    @property
    def methods(self) -> list[str]:
        """The methods, in the figure's order."""
        return list(dict.fromkeys(self.history["method"]))

    def summary(self, method: str, column: str) -> pd.DataFrame:
        """Return mean, min and max over seeds of a column at each epoch where it was measured."""
        rows = self.history[self.history["method"] == method]
        if column not in rows:
            return pd.DataFrame(columns=["mean", "min", "max"])
        return rows.dropna(subset=[column]).groupby("epoch")[column].agg(["mean", "min", "max"])


def figure(spec: dict[str, Any], context: Context) -> None:
    """Draw one figure."""
    frames = []
    for member in spec["members"]:
        frame = pd.read_csv(context.inputs[member["history"]])
        frames.append(frame.assign(dataset=member["dataset"], method=member["method"], seed=member["seed"]))
    curves = Curves(pd.concat(frames, ignore_index=True), spec["methods"], spec["colors"])
    module, name = spec["figure"]["kind"].split(":")
    drawn = getattr(importlib.import_module(module), name)(curves, title=spec["figure"]["title"])
    save(drawn, svg=context.outputs["svg"], pdf=context.outputs["pdf"])
    seeds = sorted(curves.history["seed"].unique().tolist())
    datasets = sorted(curves.history["dataset"].unique().tolist())
    caption = (
        f"**{spec['figure']['title']}.** {spec['figure']['caption']} Scale {spec['scale']}: data "
        f"{', '.join(datasets)}; seeds {', '.join(map(str, seeds))}."
    )
    if not spec["reproduces"]:
        caption += " Measured on small stand-ins; not a reproduction of a published figure."
    write_text(context.outputs["caption"], caption + "\n")
