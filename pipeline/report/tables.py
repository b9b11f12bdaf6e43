"""The `table` step: one grid of cells, written as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.context import Context
from pipeline.files import read_json, write_text

ALARM = "†"


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


def cell_text(cell: dict[str, Any] | None) -> str:
    """Return `mean ± sd` in percent with one decimal, a dagger if a sanity check failed, or a dash if not run."""
    if cell is None:
        return "not run"
    text = f"{100 * cell['mean']:.1f}"
    if cell["sd"] is not None:
        text += f" ± {100 * cell['sd']:.1f}"
    return text + (f" {ALARM}" if cell["alarms"] else "")


def build_grid(spec: dict[str, Any], numbers: dict[str, Any]) -> Grid:
    """Lay a table out from its specification and the paper's numbers."""
    table = spec["table"]
    cells = {
        (cell["dataset"], cell["method"], cell["attack"]): cell
        for cell in numbers["cells"]
        if cell["experiment"] == table["experiment"]
    }
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in cells))
    several = len(datasets) > 1
    rows, names = [], []
    for dataset in datasets:
        for method in spec["rows"]:
            texts = [cell_text(cells.get((dataset, method, column))) for column in table["columns"]]
            rows.append(([dataset] if several else []) + [spec["methods"][method]] + texts)
            names.append(f"{dataset}.{method}" if several else method)
    titles = [spec["attacks"][column] for column in table["columns"]]
    header = (["Data set"] if several else []) + ["Method", *titles]
    alignment = "l" * (len(header) - len(titles)) + "r" * len(titles)
    return Grid(table["title"], header, rows, _notes(spec, numbers, cells), names, table["columns"], alignment)


def _notes(
    spec: dict[str, Any], numbers: dict[str, Any], cells: dict[tuple[str, str, str], dict[str, Any]]
) -> list[str]:
    table = spec["table"]
    datasets = list(dict.fromkeys(dataset for dataset, _, _ in cells))
    seeds = sorted({seed for cell in cells.values() for seed in cell["seeds"]})
    basis = f"data {', '.join(datasets)}; seeds {', '.join(map(str, seeds))}; {_images(spec, cells)}"
    notes = [table["caption"], f"Scale {spec['scale']}: {basis}."]
    if not spec["reproduces"]:
        notes.append("These are measurements of small stand-ins. They are not a reproduction of a published number.")
    notes += _control(spec, numbers)
    alarms = sorted({alarm for cell in cells.values() for alarm in cell["alarms"]})
    if alarms:
        notes.append(f"{ALARM} a sanity check failed for at least one seed: {', '.join(alarms)}.")
    return notes + [f"Deviation {entry['key']}: {entry['text']}" for entry in spec["deviations"]]


def _images(spec: dict[str, Any], cells: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """Say how many test images a cell counts: once if all columns agree, else by column."""
    counts = {
        column: sorted({cell["images"] for (_, _, attack), cell in cells.items() if attack == column})
        for column in spec["table"]["columns"]
    }
    if len({tuple(found) for found in counts.values()}) == 1:
        return f"{'/'.join(map(str, next(iter(counts.values()))))} test images"
    by_column = [f"{spec['attacks'][column]} {'/'.join(map(str, found)) or 'none'}" for column, found in counts.items()]
    return f"test images by column: {', '.join(by_column)}"


def _control(spec: dict[str, Any], numbers: dict[str, Any]) -> list[str]:
    """Say what a plainly trained model keeps under each attack: an attack that it survives shows nothing."""
    kept = [
        f"{spec['attacks'][cell['attack']]} {100 * cell['mean']:.1f}"
        for cell in numbers["cells"]
        if cell["experiment"] == spec["control"] and cell["attack"] in spec["table"]["columns"]
    ]
    return [f"Undefended control under the same attacks: {', '.join(kept)}."] if kept else []


def to_markdown(grid: Grid) -> str:
    """Render for reading as text."""
    lines = [f"**{grid.title}**", "", "| " + " | ".join(grid.header) + " |"]
    lines.append("| " + " | ".join("---" if letter == "l" else "---:" for letter in grid.alignment) + " |")
    lines += ["| " + " | ".join(row) + " |" for row in grid.rows]
    return "\n".join([*lines, "", *[f"- {note}" for note in grid.notes]]) + "\n"


def to_csv(grid: Grid) -> str:
    """Render for machines: the same texts, no notes."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([grid.header, *grid.rows])
    return stream.getvalue()


def _latex(text: str) -> str:
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text)
    return escaped.replace("±", r"$\pm$").replace(ALARM, r"$\dagger$")


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
