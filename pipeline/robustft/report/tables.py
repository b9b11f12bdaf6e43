"""The `table` step: one grid of cells, written as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robustft.files import read_json, write_text
from robustft.report.statistics import mean, sample_sd
from robustft.report.training_metrics import TRAINING_METRICS
from robustft.runtime.context import Context

DAGGER = "†"


@dataclass(frozen=True)
class Grid:
    """A table's content: a heading line, rows of text, and notes below. The four formats are views of it."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]
    row_names: list[str]
    column_names: list[str]
    alignment: str
    """One letter a column: l for text, r for numbers."""


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


def selection(table: dict[str, Any], column: str) -> dict[str, str]:
    """Return what a column's cells have in common: their data set and attack, or their attack."""
    if table.get("across") == "datasets":
        return {"dataset": column, "attack": table["metric"]}
    return {"attack": column}


def build_grid(spec: dict[str, Any], numbers: dict[str, Any]) -> Grid:
    """Lay a table out from its specification and the paper's numbers."""
    table = spec["table"]
    if table.get("across") == "datasets":
        return _grid_across(spec, numbers)
    cells = {
        (cell["dataset"], cell["method"], cell["attack"]): cell
        for cell in numbers["cells"]
        if cell["experiment"] == table["experiment"] and not cell["transfer_eval"]
    }
    datasets = list(dict.fromkeys(dataset for dataset, _, attack in cells if attack in table["columns"]))
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
    """Return a cell's text; a run that was derived has no training to tell of."""
    return "–" if cell is None and column in TRAINING_METRICS else cell_text(cell)


def _grid_across(spec: dict[str, Any], numbers: dict[str, Any]) -> Grid:
    """Lay out one attack's accuracies on other data sets, a column for each, and their average in each seed."""
    table = spec["table"]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for cell in numbers["cells"]:
        if (cell["experiment"], cell["attack"]) == (table["experiment"], table["metric"]) and cell["transfer_eval"]:
            found.setdefault(cell["method"], {})[cell["dataset"]] = cell
    datasets = list(dict.fromkeys(dataset for method in spec["rows"] for dataset in found.get(method, {})))
    rows = []
    for method in spec["rows"]:
        cells = found.get(method, {})
        texts = [cell_text(cells.get(dataset)) for dataset in datasets]
        rows.append([spec["methods"][method], *texts, cell_text(_average(table, method, datasets, numbers))])
    header = ["Method", *[spec["datasets"][dataset] for dataset in datasets], "Average"]
    used = {(d, method, table["metric"]): c for method, by_dataset in found.items() for d, c in by_dataset.items()}
    shown = {**spec, "table": {**table, "columns": [table["metric"]]}}
    notes = _notes(shown, numbers, used)
    return Grid(table["title"], header, rows, notes, spec["rows"], [*datasets, AVERAGE], "l" + "r" * (len(header) - 1))


def _average(table: dict[str, Any], method: str, datasets: list[str], numbers: dict[str, Any]) -> dict[str, Any] | None:
    """Return the mean over data sets, with its spread over seeds; None unless every data set was measured."""
    by_seed: dict[int, list[dict[str, Any]]] = {}
    for one in numbers["measurements"]:
        same = (one["experiment"], one["method"], one["attack"]) == (table["experiment"], method, table["metric"])
        if same and one["transfer_eval"]:
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
    wanted = {(method, column) for method in spec["rows"] for column in table["columns"]}
    cells = {key: cell for key, cell in cells.items() if key[1:] in wanted and cell["unit"] == "share"}
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
    found = []
    for key, value in tree.items():
        found += _leaves(value, f"{path}{key}.") if isinstance(value, dict) else [(f"{path}{key}", value)]
    return found


def _by_column(spec: dict[str, Any], cells: dict[tuple[str, str, str], dict[str, Any]], what: str) -> str:
    """Say over which seeds, or how many test images, a cell counts: once if all columns agree, else by column."""
    counts: dict[str, list[str]] = {}
    for (_, _, column), cell in cells.items():
        shown = str(cell["images"]) if what == "images" else ", ".join(map(str, cell["seeds"]))
        if shown not in counts.setdefault(column, []):
            counts[column].append(shown)
    if len({tuple(sorted(found)) for found in counts.values()}) == 1:
        found = "/".join(next(iter(counts.values())))
        return f"{found} test images" if what == "images" else f"seeds {found}"
    columns = [column for column in spec["table"]["columns"] if column in counts]
    told = "; ".join(f"{spec['attacks'][column]}: {'/'.join(counts[column])}" for column in columns)
    return f"{'test images' if what == 'images' else 'seeds'} by column ({told})"


def _control(spec: dict[str, Any], numbers: dict[str, Any]) -> list[str]:
    """Say what a plainly trained model keeps under each attack: an attack that it survives shows nothing."""
    kept = [
        f"{spec['attacks'][cell['attack']]} {100 * cell['mean']:.1f}"
        for cell in numbers["cells"]
        if cell["experiment"] == spec["control"]
        and cell["attack"] in spec["table"]["columns"]
        and cell["unit"] == "share"
    ]
    return [f"Undefended control under the same attacks: {', '.join(kept)}."] if kept else []


def markdown_lines(header: list[str], rows: list[list[str]], alignment: str) -> list[str]:
    """Return the lines of a Markdown table; `alignment` has one letter a column, as in a Grid."""
    rule = ["---" if letter == "l" else "---:" for letter in alignment]
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]


def to_markdown(grid: Grid) -> str:
    """Render for reading as text."""
    lines = [f"**{grid.title}**", "", *markdown_lines(grid.header, grid.rows, grid.alignment), ""]
    return "\n".join([*lines, *[f"- {note}" for note in grid.notes]]) + "\n"


def to_csv(grid: Grid) -> str:
    """Render for machines: the same texts, no notes."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([grid.header, *grid.rows])
    return stream.getvalue()


def _latex(text: str) -> str:
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return escaped.replace("±", r"$\pm$").replace(DAGGER, r"$\dagger$")


def to_latex(grid: Grid) -> str:
    """Render for a paper; needs the package booktabs."""
    lines = [r"\begin{table}", rf"\caption{{{_latex(grid.title)}. {_latex(grid.notes[0])}}}"]
    lines += [rf"\begin{{tabular}}{{{grid.alignment}}}", r"\toprule"]
    lines += [" & ".join(map(_latex, grid.header)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_latex, row)) + r" \\" for row in grid.rows]
    lines += [r"\bottomrule", r"\end{tabular}", *[f"% {note}" for note in grid.notes[1:]], r"\end{table}"]
    return "\n".join(lines) + "\n"


_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}
th,td{padding:.3rem .8rem;text-align:left;font-variant-numeric:tabular-nums}.r{text-align:right}
thead th{border-bottom:2px solid #222}tbody tr:nth-child(even){background:#f4f4f4}ul{max-width:60rem;color:#444}"""


def _html_cells(tag: str, texts: list[str], alignment: str) -> str:
    cells = zip(texts, alignment, strict=True)
    return "".join(f'<{tag} class="{letter}">{html.escape(text)}</{tag}>' for text, letter in cells)


def to_html(grid: Grid) -> str:
    """Render as a page that needs nothing else."""
    head = _html_cells("th", grid.header, grid.alignment)
    body = "\n".join(f"<tr>{_html_cells('td', row, grid.alignment)}</tr>" for row in grid.rows)
    notes = "".join(f"<li>{html.escape(note)}</li>\n" for note in grid.notes)
    title = html.escape(grid.title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n<table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>\n<ul>\n{notes}</ul></body></html>\n"
    )


FORMATS: dict[str, Callable[[Grid], str]] = {"md": to_markdown, "csv": to_csv, "tex": to_latex, "html": to_html}


def parse_rows(text: str, kind: str) -> list[list[str]]:
    """Return the rows of a rendered table as cell texts, headings left out: how the audit finds an edited cell."""
    if kind == "csv":
        return list(csv.reader(io.StringIO(text)))[1:]
    if kind == "md":
        lines = [line for line in text.splitlines() if line.startswith("|")][2:]
        return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    if kind == "tex":
        lines = [line for line in text.splitlines() if line.endswith(r"\\")][1:]
        return [[cell.strip() for cell in re.split(r"(?<!\\)&", line[:-2])] for line in lines]
    return [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in text.splitlines() if line.startswith("<tr><td")]


def table(spec: dict[str, Any], context: Context) -> None:
    """Write the table in all formats."""
    grid = build_grid(spec, read_json(context.inputs["numbers"]))
    for kind, render in FORMATS.items():
        write_text(context.outputs[kind], render(grid))
