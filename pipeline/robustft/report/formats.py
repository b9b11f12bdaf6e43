"""The formats of a table: one grid of texts, written as Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

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
