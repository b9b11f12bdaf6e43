"""A table in the shape of a paper's: rows by a label, and a group of columns for each of several methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robustft.report.formats import Grid

NOT_RUN = "not run"

Groups = Sequence[tuple[str, Sequence[tuple[str, str]]]]
"""For each label of a row, the method in each group of columns, in the order in which they are shown."""


def in_groups(grid: Grid, groups: Groups) -> Grid:
    """Return a grid of one line for each method in groups of columns.

    A group that a label does not have, and a method that is not in the grid, is not run. A method may stand in several
    groups, as a row without pre-training does in a table by task of pre-training.
    """
    heads, columns = len(grid.header) - len(grid.column_names), grid.column_names
    titles = list(dict.fromkeys(title for _, methods in groups for title, _ in methods))
    lines = dict(zip(grid.row_names, grid.rows, strict=True))
    rows, names, places = [], [], []
    for dataset in dict.fromkeys(name.rpartition(".")[0] for name in grid.row_names):
        prefix = f"{dataset}." if dataset else ""
        for label, pairs in groups:
            methods = dict(pairs)
            found = [f"{prefix}{methods.get(title, '')}" for title in titles]
            texts = [lines[name][heads:] if name in lines else [NOT_RUN] * len(columns) for name in found]
            rows.append([*([dataset] if dataset else []), label, *(text for part in texts for text in part)])
            names.append(f"{prefix}{label}")
            places.append([(name, column) for name in found for column in columns])
    return replace(
        grid,
        header=[
            *grid.header[: heads - 1],
            "Row",
            *(f"{one}: {text}" for one in titles for text in grid.header[heads:]),
        ],
        rows=rows,
        row_names=names,
        column_names=[f"{title}: {column}" for title in titles for column in columns],
        alignment=grid.alignment[:heads] + grid.alignment[heads:] * len(titles),
        places=places,
    )
