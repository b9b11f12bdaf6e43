"""A table of the results on a terminal, no wider than it: read from its Markdown, drawn by rich."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from robustft.errors import RobustftError, nearest
from robustft.plan import Plan

BAR = re.compile(r"(?<!\\)\|")
ESCAPED = re.compile(r"\\([\\`*_{}\[\]()<>#+\-.!|~&$])")


NUMBER = re.compile(r"[-−+<>]?[\d.,]|-?$")


@dataclass(frozen=True)
class TerminalTable:
    """A Markdown page with tables: paragraphs, and the rows of each table with its head first."""

    blocks: tuple[str | list[list[str]], ...]

    def rendered(self, *, notes: bool = True) -> RenderableType:
        """Return it for a console; without `notes`, its title and its first table alone."""
        parts: list[RenderableType] = []
        for number, block in enumerate(self.blocks):
            if isinstance(block, list):
                parts.append(_drawn(block))
                if not notes:
                    break
            elif notes or number == 0:
                parts.append(_paragraph(block))
        return Group(*parts)


def read_table(path: Path) -> TerminalTable:
    """Read a table or the verdicts as Markdown. Raises RobustftError if the file is missing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RobustftError(
            "a table has not been made", where=path, next_step="robustft run makes all that is missing"
        ) from error
    blocks: list[str | list[list[str]]] = []
    for line in lines:
        if line.startswith("|"):
            if not blocks or isinstance(blocks[-1], str):
                blocks.append([])
            rows = blocks[-1]
            assert isinstance(rows, list)
            if not set(line) <= set("|-: "):
                rows.append([_plain(cell.strip()) for cell in BAR.split(line)[1:-1]])
        elif line.strip():
            blocks.append(line)
    return TerminalTable(tuple(blocks))


def chosen(plan: Plan, names: Sequence[str]) -> list[Path]:
    """Return the Markdown of the tables and verdicts with these names, of all without any.

    A name is `PAPER/TABLE`, or a paper. Raises RobustftError with the nearest for an unknown one.
    """
    steps = [*plan.of_kind("table"), *plan.of_kind("verdicts")]
    papers = list(plan.config.papers)
    known = {step.id if step.kind == "table" else f"{step.id}/verdicts": step for step in steps}
    for name in names:
        if name not in known and name not in papers:
            raise RobustftError(f"there is no table '{name}'", next_step=nearest(name, [*known, *papers]))
    ordered = sorted(known, key=lambda name: papers.index(name.split("/")[0]))
    wanted = [name for name in ordered if not names or name in names or name.split("/")[0] in names]
    return [Path(known[name].outputs["md"]) for name in wanted]


def _plain(text: str) -> str:
    """Return Markdown without its marks."""
    return ESCAPED.sub(r"\1", text.replace("**", ""))


def _paragraph(line: str) -> RenderableType:
    if line.startswith("- "):
        return Padding(Text(_plain(line), style="dim"), (0, 0, 0, 2))
    return Text(_plain(line), style="bold" if line.startswith("**") else "")


def _drawn(rows: list[list[str]]) -> Table:
    """Return rows as a table. Numbers are on the right, each on one line; texts take the room that is left."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0), show_edge=False)
    head, *body = [[cell.replace(" ± ", "±") for cell in row] for row in rows]
    for place, title in enumerate(head):
        cells = [row[place] for row in body]
        if all(NUMBER.match(cell) for cell in cells):
            width = max(len(part) for part in (*cells, *title.split(), ""))
            table.add_column(Text(title), justify="right", min_width=width)
        else:
            table.add_column(Text(title), overflow="fold")
    for row in body:
        table.add_row(*map(Text, row))
    return table
