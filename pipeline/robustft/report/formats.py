"""The formats of a table: one grid of texts, written as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from robustft import escape

DAGGER = "†"


@dataclass(frozen=True)
class Grid:
    """A table's content: a head, rows of text, and notes below. The four formats are views of it."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str]
    row_names: list[str]
    column_names: list[str]
    alignment: str
    """One letter a column: l for text, r for numbers."""
    head: list[str] = field(default_factory=list)
    """Sentences between title and rows: what the numbers rest on."""
    see: tuple[str, str] | None = None
    """A last note that names another page, and the path of that page from this one, without its ending."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """The cells for machines, one value a field, all with the same fields: `row` and `column` first."""
    unjudged: frozenset[str] = frozenset()
    """Names of rows that say nothing about the paper; a page shows them grey."""
    places: list[list[tuple[str, str]]] = field(default_factory=list)
    """For each cell the names of its row and column in a grid of one line for each method; by default its own."""

    def __post_init__(self) -> None:
        """Give each cell the names of its row and column."""
        if not self.places:
            named = [[(row, column) for column in self.column_names] for row in self.row_names]
            object.__setattr__(self, "places", named)


def markdown_lines(header: list[str], rows: list[list[str]], alignment: str) -> list[str]:
    """Return the lines of a Markdown table; `alignment` has one letter a column, as in a Grid."""
    rule = ["---" if letter == "l" else "---:" for letter in alignment]
    lines = ["| " + " | ".join(map(escape.markdown_cell, row)) + " |" for row in (header, *rows)]
    return [lines[0], "| " + " | ".join(rule) + " |", *lines[1:]]


def to_markdown(grid: Grid) -> str:
    """Render for reading as text."""
    head = [escape.markdown(" ".join(grid.head)), ""] if grid.head else []
    table = markdown_lines(grid.header, grid.rows, grid.alignment)
    see = [f"{grid.see[0]} {grid.see[1]}.md"] if grid.see else []
    notes = [f"- {escape.markdown(note)}" for note in [*grid.notes, *see] if note]
    return "\n".join([f"**{escape.markdown(grid.title)}**", "", *head, *table, "", *notes]) + "\n"


def to_csv(grid: Grid) -> str:
    """Render for machines: the records, or else the rows of text. No notes."""
    rows = [list(grid.records[0]), *[list(one.values()) for one in grid.records]] if grid.records else None
    stream = io.StringIO()
    fields = ([escape.csv(value) for value in row] for row in rows or [grid.header, *grid.rows])
    csv.writer(stream, lineterminator="\n").writerows(fields)
    return stream.getvalue()


def to_latex(grid: Grid) -> str:
    """Render for a paper; needs the package booktabs."""
    caption = " ".join([f"{grid.title}.", *grid.notes[:1], *grid.head])
    lines = [r"\begin{table}", rf"\caption{{{escape.latex(caption)}}}"]
    lines += [rf"\begin{{tabular}}{{{grid.alignment}}}", r"\toprule"]
    lines += [" & ".join(map(escape.latex, grid.header)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(escape.latex, row)) + r" \\" for row in grid.rows]
    comments = [f"% {' '.join(note.splitlines())}" for note in grid.notes[1:]]
    lines += [r"\bottomrule", r"\end{tabular}", *comments, r"\end{table}"]
    return "\n".join(lines) + "\n"


_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}
th,td{padding:.3rem .8rem;text-align:left;font-variant-numeric:tabular-nums}.r{text-align:right}
thead th{border-bottom:2px solid #222}tbody tr:nth-child(even){background:#f4f4f4}
.unjudged{color:#666}ul{max-width:60rem;color:#444}"""


def _html_cells(tag: str, texts: list[str], alignment: str) -> str:
    cells = zip(texts, alignment, strict=True)
    return "".join(f'<{tag} class="{letter}">{escape.html(text)}</{tag}>' for text, letter in cells)


def _row(name: str, grid: Grid) -> str:
    return '<tr class="unjudged">' if name in grid.unjudged else "<tr>"


def to_html(grid: Grid) -> str:
    """Render as a page that needs nothing else."""
    headings = _html_cells("th", grid.header, grid.alignment)
    body = "\n".join(
        f"{_row(name, grid)}{_html_cells('td', row, grid.alignment)}</tr>"
        for name, row in zip(grid.row_names, grid.rows, strict=True)
    )
    notes = "".join(f"<li>{escape.html(note)}</li>\n" for note in grid.notes if note)
    if grid.see:
        text, page = map(escape.html, (grid.see[0], f"{grid.see[1]}.html"))
        notes += f'<li>{text} <a href="{page}">{page}</a></li>\n'
    title = escape.html(grid.title)
    head = f"<p>{escape.html(' '.join(grid.head))}</p>\n" if grid.head else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n{head}<table><thead><tr>{headings}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>\n<ul>\n{notes}</ul></body></html>\n"
    )


FORMATS: dict[str, Callable[[Grid], str]] = {"md": to_markdown, "csv": to_csv, "tex": to_latex, "html": to_html}


_BAR = re.compile(r"(?<!\\)\|")


def parse_rows(text: str, kind: str) -> list[list[str]]:
    """Return the rows of a rendered table as texts, headings left out: of records in CSV, else as a Grid has them."""
    if kind == "csv":
        return list(csv.reader(io.StringIO(text)))[1:]
    if kind == "md":
        lines = [line for line in text.splitlines() if line.startswith("|")][2:]
        return [[cell.strip() for cell in _BAR.split(line.strip()[1:-1])] for line in lines]
    if kind == "tex":
        lines = [line for line in text.splitlines() if line.endswith(r"\\")][1:]
        return [[cell.strip() for cell in re.split(r"(?<!\\)&", line[:-2])] for line in lines]
    return [re.findall(r"<td[^>]*>(.*?)</td>", line) for line in text.splitlines() if re.match(r"<tr[^>]*><td", line)]


def edited_cells(grid: Grid, text: str, kind: str) -> list[tuple[str, str, str]] | None:
    """Return each cell of a rendered table that is not the grid's: its name ROW/COLUMN, what it is, what it should be.

    None if rows or columns were added or removed. In CSV the name ends with the field of the record.
    """
    expected, observed = parse_rows(FORMATS[kind](grid), kind), parse_rows(text, kind)
    if [len(row) for row in expected] != [len(row) for row in observed]:
        return None
    heads = len(grid.header) - len(grid.column_names)

    def name(row: int, place: int) -> str:
        if kind == "csv" and grid.records:
            record = grid.records[row]
            return f"{record['row']}/{record['column']} ({list(record)[place]})"
        return f"{grid.row_names[row]}/{grid.column_names[place - heads]}"

    return [
        (name(row, place), theirs, ours)
        for row, (line, other) in enumerate(zip(expected, observed, strict=True))
        for place, (ours, theirs) in enumerate(zip(line, other, strict=True))
        if ours != theirs and (place >= heads or kind == "csv")
    ]
