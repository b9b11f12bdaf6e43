"""The `table` step: one grid of cells, written as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from robustft.files import read_json, write_text
from robustft.report.basis import basis, in_order
from robustft.report.cells import across_datasets, cells_of
from robustft.report.formats import DAGGER, FORMATS, Grid
from robustft.report.groups import in_groups
from robustft.report.statistics import mean, sample_sd
from robustft.report.training_metrics import TRAINING_METRICS
from robustft.runtime.context import Context

AVERAGE = "average"
"""The last column of a table across data sets."""

Cell = dict[str, Any]


class Line(NamedTuple):
    """A row of a table: a method of one data set, and its cells by column, None for one that was not run."""

    dataset: str
    """The one that its models were trained on."""
    method: str
    cells: dict[str, Cell | None]


def cell_text(cell: Cell | None) -> str:
    """Return `mean ± sd`, and a dagger if a sanity check failed; shares in percent with one decimal, counts whole."""
    if cell is None:
        return "not run"
    if cell["unit"] == "count":
        return f"{cell['mean']:,.0f}"
    factor = 100 if cell["unit"] == "share" else 1
    text = f"{factor * cell['mean']:.1f}"
    if cell["sd"] is not None:
        text += f" ± {factor * cell['sd']:.1f}"
    return text + (f" {DAGGER}" if cell["failed_checks"] else "")


def cells_in(spec: dict[str, Any], entries: list[Cell], column: str) -> list[Cell]:
    """Return the cells, or the measurements, that a column of a table shows.

    In a table across data sets a column is a data set, or `AVERAGE` for all of them.
    """
    table = spec["table"]
    across = across_datasets(table)
    found = cells_of(table, spec["shown"], entries, table["metric"] if across else column)
    found = [one for one in found if one["method"] in spec["rows"]]
    return [one for one in found if one["dataset"] == column] if across and column != AVERAGE else found


def build_grid(spec: dict[str, Any], numbers: dict[str, Any]) -> Grid:
    """Lay out a table from its specification and the paper's numbers, in groups of columns if it has them."""
    grid = _grid(spec, numbers)
    return in_groups(grid, spec["table"]["groups"]) if "groups" in spec["table"] else grid


def _grid(spec: dict[str, Any], numbers: dict[str, Any]) -> Grid:
    """Lay out a table with a line for each method."""
    table, across = spec["table"], across_datasets(spec["table"])
    columns, lines = (_across if across else _lines)(spec, numbers)
    several = len({line.dataset for line in lines}) > 1
    heads = [*(["Trained on" if across else "Data set"] if several else []), "Method"]
    titles = {**spec["datasets"], AVERAGE: "Average"} if across else spec["attacks"]
    rows, names, records = [], [], []
    for line in lines:
        names.append(f"{line.dataset}.{line.method}" if several else line.method)
        texts = [_text(cell, column) for column, cell in line.cells.items()]
        rows.append([*([line.dataset] if several else []), spec["methods"][line.method], *texts])
        records += [_record(spec, names[-1], line, column) for column in columns]
    return Grid(
        title=table["title"],
        header=[*heads, *(titles[column] for column in columns)],
        rows=rows,
        notes=_notes(spec, numbers, lines),
        row_names=names,
        column_names=columns,
        alignment="l" * len(heads) + "r" * len(columns),
        head=[_what(_measured(lines)), *basis(spec, table, _measured(lines))],
        see=(f"{spec['deviations_elsewhere']} deviations touch no row here; all are in", "../deviations")
        if spec["deviations_elsewhere"]
        else None,
        records=records,
    )


def _text(cell: Cell | None, column: str) -> str:
    """Return a cell's text; a derived run has no training metrics."""
    return "–" if cell is None and column in TRAINING_METRICS else cell_text(cell)


def _what(cells: list[Cell]) -> str:
    """Say what the cells of accuracies are; a cell of one seed has no deviation."""
    seeds = max((len(cell["seeds"]) for cell in cells), default=0)
    spread = ", mean ± sample standard deviation over seeds" if seeds > 1 else ", of one seed" if seeds else ""
    return f"Accuracy in percent{spread}."


def _measured(lines: list[Line]) -> list[Cell]:
    """Return the accuracies of a table, averages left out."""
    cells = [cell for line in lines for column, cell in line.cells.items() if cell is not None and column != AVERAGE]
    return [cell for cell in cells if cell["unit"] == "share"]


# -- the cells of a table ----------------------------------------------------------------------------------------------


def _lines(spec: dict[str, Any], numbers: dict[str, Any]) -> tuple[list[str], list[Line]]:
    """Return the columns, which are attacks and metrics of training, and a line for each data set and method."""
    columns = spec["table"]["columns"]
    cells = {
        (cell["dataset"], cell["method"], column): cell
        for column in columns
        for cell in cells_in(spec, numbers["cells"], column)
    }
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in cells))
    return columns, [
        Line(dataset, method, {column: cells.get((dataset, method, column)) for column in columns})
        for dataset in datasets
        for method in spec["rows"]
    ]


def _across(spec: dict[str, Any], numbers: dict[str, Any]) -> tuple[list[str], list[Line]]:
    """Return the columns, which are data sets and their average, and a line for each data set trained on and method."""
    found = cells_in(spec, numbers["cells"], AVERAGE)
    cells = {(cell["trained_on"], cell["method"], cell["dataset"]): cell for cell in found}
    order = [one["dataset"] for method in spec["rows"] for one in found if one["method"] == method]
    datasets = list(dict.fromkeys(order))
    lines = []
    for trained_on in dict.fromkeys(cell["trained_on"] for cell in found):
        for method in spec["rows"]:
            line = {dataset: cells.get((trained_on, method, dataset)) for dataset in datasets}
            average = _average(spec, numbers, trained_on, method, datasets)
            lines.append(Line(trained_on, method, {**line, AVERAGE: average}))
    return [*datasets, AVERAGE], lines


def _average(
    spec: dict[str, Any], numbers: dict[str, Any], trained_on: str, method: str, datasets: list[str]
) -> Cell | None:
    """Return the mean over data sets, with its spread over seeds; None unless every data set was measured."""
    by_seed: dict[int, list[dict[str, Any]]] = {}
    for one in cells_in(spec, numbers["measurements"], AVERAGE):
        if (one["trained_on"], one["method"]) == (trained_on, method):
            by_seed.setdefault(one["seed"], []).append(one)
    if not by_seed or any(len(group) != len(datasets) for group in by_seed.values()):
        return None
    values = [mean([one["accuracy"] for one in group]) for group in by_seed.values()]
    first = next(iter(by_seed.values()))
    return {
        "dataset": None,
        **{part: first[0][part] for part in ("attack", "evaluation", "split")},
        "images": sum(one["images"] for one in first),
        "seeds": list(by_seed),
        "unit": "share",
        "mean": mean(values),
        "sd": sample_sd(values),
        "failed_checks": sorted(
            {c["check"] for group in by_seed.values() for one in group for c in one["checks"] if not c["ok"]}
        ),
    }


def _record(spec: dict[str, Any], row: str, line: Line, column: str) -> dict[str, Any]:
    """Return a cell as a line of CSV. What was not run, or has no such part, is empty; `seeds` is their number."""
    cell = line.cells[column] or {}
    across = across_datasets(spec["table"])
    attack = spec["table"]["metric"] if across else column
    one = spec["shown"].get(attack, {})
    dataset = cell.get("dataset", column if across and column != AVERAGE else line.dataset)
    return {
        "row": row,
        "column": column,
        "method": line.method,
        "trained_on": line.dataset,
        "dataset": dataset,
        "attack": attack,
        "evaluation": one.get("evaluation"),
        "split": one.get("split"),
        "norm": one.get("norm"),
        "eps": one.get("eps"),
        "eps_decimal": float(Fraction(one["eps"])) if "eps" in one else None,
        "steps": one.get("steps"),
        "unit": cell.get("unit"),
        "mean": cell.get("mean"),
        "sd": cell.get("sd"),
        "seeds": len(cell.get("seeds", ())),
        "images": cell.get("images") or None,
        "flagged": int(bool(cell["failed_checks"])) if cell else None,
    }


# -- notes -------------------------------------------------------------------------------------------------------------


def _notes(spec: dict[str, Any], numbers: dict[str, Any], lines: list[Line]) -> list[str]:
    notes = [spec["table"]["caption"]]
    for attack in in_order(spec["shown"], spec["table"]):
        if attack in spec["budgets"]:
            changes = ", ".join(f"{key} {value}" for key, value in _leaves(spec["budgets"][attack]))
            notes.append(f"{spec['attacks'][attack]} at this scale differs from config/attacks.yaml: {changes}.")
    notes += _control(spec, numbers)
    failed_checks = sorted({check for cell in _measured(lines) for check in cell["failed_checks"]})
    if failed_checks:
        notes.append(f"{DAGGER} a sanity check failed for at least one seed: {', '.join(failed_checks)}.")
    return notes + [f"Deviation {entry['key']}: {entry['text']}" for entry in spec["deviations"]]


def _leaves(tree: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in sorted(tree.items()):
        leaves += _leaves(value, f"{path}{key}.") if isinstance(value, dict) else [(f"{path}{key}", value)]
    return leaves


def _control(spec: dict[str, Any], numbers: dict[str, Any]) -> list[str]:
    """Return the accuracy of a plainly trained model under each attack: an attack that it survives proves nothing."""
    by_dataset: dict[str, list[str]] = {}
    for cell in numbers["cells"]:
        same = cell["unit"] == "share" and spec["shown"].get(cell["attack"], {}).get("split") == cell["split"]
        if cell["experiment"] == spec["control"] and same:
            text = f"{spec['attacks'][cell['attack']]} {100 * cell['mean']:.1f}"
            by_dataset.setdefault(cell["dataset"], []).append(text)
    texts = [
        ", ".join(accuracies) + (f" on {dataset}" if len(by_dataset) > 1 else "")
        for dataset, accuracies in by_dataset.items()
    ]
    return [f"Undefended control under the same attacks: {'; '.join(texts)}."] if texts else []


def table(spec: dict[str, Any], context: Context) -> None:
    """Write the table in all formats."""
    grid = build_grid(spec, read_json(context.inputs["numbers"]))
    for kind, render in FORMATS.items():
        write_text(context.outputs[kind], render(grid))
