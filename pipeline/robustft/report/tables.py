"""The `table` step: one grid of cells, written as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

from typing import Any

from robustft.files import read_json, write_text
from robustft.report.cells import across_datasets, cells_of
from robustft.report.formats import DAGGER, FORMATS, Grid
from robustft.report.statistics import mean, sample_sd
from robustft.report.training_metrics import TRAINING_METRICS
from robustft.runtime.context import Context

AVERAGE = "average"
"""The last column of a table across data sets."""


def cell_text(cell: dict[str, Any] | None) -> str:
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


def cells_in(spec: dict[str, Any], entries: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """Return the cells, or the measurements, that a column of a table shows.

    In a table across data sets a column is a data set, or `AVERAGE` for all of them.
    """
    table = spec["table"]
    across = across_datasets(table)
    found = cells_of(table, spec["shown"], entries, table["metric"] if across else column)
    return [one for one in found if one["dataset"] == column] if across and column != AVERAGE else found


def build_grid(spec: dict[str, Any], numbers: dict[str, Any]) -> Grid:
    """Lay out a table from its specification and the paper's numbers."""
    table = spec["table"]
    if across_datasets(table):
        return _grid_across(spec, numbers)
    cells = {
        (cell["dataset"], cell["method"], column): cell
        for column in table["columns"]
        for cell in cells_in(spec, numbers["cells"], column)
    }
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in cells))
    several = len(datasets) > 1
    rows, names = [], []
    for dataset in datasets:
        for method in spec["rows"]:
            texts = [_text(cells.get((dataset, method, column)), column) for column in table["columns"]]
            rows.append(([dataset] if several else []) + [spec["methods"][method]] + texts)
            names.append(f"{dataset}.{method}" if several else method)
    titles = [spec["attacks"][column] for column in table["columns"]]
    header = (["Data set"] if several else []) + ["Method", *titles]
    alignment = "l" * (len(header) - len(titles)) + "r" * len(titles)
    return Grid(table["title"], header, rows, _notes(spec, numbers, cells), names, table["columns"], alignment)


def _text(cell: dict[str, Any] | None, column: str) -> str:
    """Return a cell's text; a derived run has no training metrics."""
    return "–" if cell is None and column in TRAINING_METRICS else cell_text(cell)


def _grid_across(spec: dict[str, Any], numbers: dict[str, Any]) -> Grid:
    """Lay out one attack's accuracies on other data sets, one column each, and their average over data sets."""
    table = spec["table"]
    by_method: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in cells_in(spec, numbers["cells"], AVERAGE):
        by_method.setdefault(cell["method"], {})[cell["dataset"]] = cell
    datasets = list(dict.fromkeys(dataset for method in spec["rows"] for dataset in by_method.get(method, {})))
    rows = []
    for method in spec["rows"]:
        cells = by_method.get(method, {})
        texts = [cell_text(cells.get(dataset)) for dataset in datasets]
        rows.append([spec["methods"][method], *texts, cell_text(_average(spec, method, datasets, numbers))])
    header = ["Method", *[spec["datasets"][dataset] for dataset in datasets], "Average"]
    used = {(d, method, table["metric"]): c for method, by_dataset in by_method.items() for d, c in by_dataset.items()}
    one_column = {**spec, "table": {**table, "columns": [table["metric"]]}}
    notes = _notes(one_column, numbers, used)
    return Grid(table["title"], header, rows, notes, spec["rows"], [*datasets, AVERAGE], "l" + "r" * (len(header) - 1))


def _average(spec: dict[str, Any], method: str, datasets: list[str], numbers: dict[str, Any]) -> dict[str, Any] | None:
    """Return the mean over data sets, with its spread over seeds; None unless every data set was measured."""
    by_seed: dict[int, list[dict[str, Any]]] = {}
    for one in cells_in(spec, numbers["measurements"], AVERAGE):
        if one["method"] == method:
            by_seed.setdefault(one["seed"], []).append(one)
    if not by_seed or any(len(group) != len(datasets) for group in by_seed.values()):
        return None
    values = [mean([one["accuracy"] for one in group]) for group in by_seed.values()]
    failed_checks = sorted(
        {c["check"] for group in by_seed.values() for one in group for c in one["checks"] if not c["ok"]}
    )
    return {"mean": mean(values), "sd": sample_sd(values), "unit": "share", "failed_checks": failed_checks}


def _notes(
    spec: dict[str, Any], numbers: dict[str, Any], cells: dict[tuple[str, str, str], dict[str, Any]]
) -> list[str]:
    table = spec["table"]
    keys = {(method, column) for method in spec["rows"] for column in table["columns"]}
    cells = {key: cell for key, cell in cells.items() if key[1:] in keys and cell["unit"] == "share"}
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in cells))
    notes = [table["caption"]]
    if cells:
        basis = f"data {', '.join(datasets)}; {_by_column(spec, cells, 'seeds')}; {_by_column(spec, cells, 'images')}"
        notes.append(f"Scale {spec['scale']}: {basis}.")
    if not spec["reproduces"]:
        notes.append("These are measurements of small stand-ins. They are not a reproduction of a published number.")
    for column in table["columns"]:
        if column in spec["budgets"]:
            changes = ", ".join(f"{key} {value}" for key, value in _leaves(spec["budgets"][column]))
            notes.append(f"{spec['attacks'][column]} at this scale differs from config/attacks.yaml: {changes}.")
    notes += _control(spec, numbers)
    failed_checks = sorted({check for cell in cells.values() for check in cell["failed_checks"]})
    if failed_checks:
        notes.append(f"{DAGGER} a sanity check failed for at least one seed: {', '.join(failed_checks)}.")
    return notes + [f"Deviation {entry['key']}: {entry['text']}" for entry in spec["deviations"]]


def _leaves(tree: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for key, value in tree.items():
        leaves += _leaves(value, f"{path}{key}.") if isinstance(value, dict) else [(f"{path}{key}", value)]
    return leaves


def _by_column(spec: dict[str, Any], cells: dict[tuple[str, str, str], dict[str, Any]], what: str) -> str:
    """Return the seeds, or the numbers of images and their split, of the cells: once if all columns agree."""
    counts: dict[str, list[str]] = {}
    for (_, _, column), cell in cells.items():
        text = f"{cell['images']} {cell['split']}" if what == "images" else ", ".join(map(str, cell["seeds"]))
        if text not in counts.setdefault(column, []):
            counts[column].append(text)
    if len({tuple(sorted(texts)) for texts in counts.values()}) == 1:
        text = "/".join(next(iter(counts.values())))
        return f"{text} images" if what == "images" else f"seeds {text}"
    columns = [column for column in spec["table"]["columns"] if column in counts]
    by_column = "; ".join(f"{spec['attacks'][column]}: {'/'.join(counts[column])}" for column in columns)
    return f"{what} by column ({by_column})"


def _control(spec: dict[str, Any], numbers: dict[str, Any]) -> list[str]:
    """Return the accuracy of a plainly trained model under each attack: an attack that it survives proves nothing."""
    accuracies = [
        f"{spec['attacks'][cell['attack']]} {100 * cell['mean']:.1f}"
        for cell in numbers["cells"]
        if cell["experiment"] == spec["control"]
        and spec["shown"].get(cell["attack"], {}).get("split") == cell["split"]
        and cell["unit"] == "share"
    ]
    return [f"Undefended control under the same attacks: {', '.join(accuracies)}."] if accuracies else []


def table(spec: dict[str, Any], context: Context) -> None:
    """Write the table in all formats."""
    grid = build_grid(spec, read_json(context.inputs["numbers"]))
    for kind, render in FORMATS.items():
        write_text(context.outputs[kind], render(grid))
