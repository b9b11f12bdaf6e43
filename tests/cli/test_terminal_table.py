"""Tables of the results on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from robustft.cli.terminal_table import chosen, read_table
from robustft.errors import RobustftError
from robustft.report.formats import Grid, to_markdown


@pytest.fixture
def path(tmp_path):
    header = ["Method", *(f"Attack number {number} (adaptive)" for number in range(6))]
    rows = [[f"A method with a name | of {number} many words", *["12.3 ± 4.5"] * 6] for number in range(2)]
    grid = Grid(
        "Robust [and] clean", header, rows, ["a note"], ["a", "b"], header[1:], "l" + "r" * 6, head=["The head."]
    )
    (tmp_path / "main.md").write_text(to_markdown(grid), encoding="utf-8")
    return tmp_path / "main.md"


def drawn(path, width: int, **options) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, _environ={}).print(read_table(path).rendered(**options))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_table_is_no_wider_than_the_terminal_and_breaks_no_number(path, width):
    lines = drawn(path, width)
    assert max(map(len, lines)) <= width
    assert sum(line.count("12.3±4.5") for line in lines) == 12
    assert lines[0] == "Robust [and] clean"
    assert "  - a note" in lines


def test_a_cell_keeps_the_bar_and_the_brackets_of_its_text(path):
    assert any("A method with a name | of 0 many words" in line for line in drawn(path, 200))


def test_without_notes_there_are_the_title_and_the_rows(path):
    text = "\n".join(drawn(path, 200, notes=False))
    assert "Robust [and] clean" in text
    assert "The head." not in text
    assert "a note" not in text


def test_a_table_that_has_not_been_made_is_an_error(tmp_path):
    with pytest.raises(RobustftError, match="a table has not been made"):
        read_table(tmp_path / "main.md")


def test_tables_are_chosen_by_name_or_by_paper(toy_plan):
    plan = toy_plan
    every = [str(path) for path in chosen(toy_plan, [])]
    assert every == [
        *(step.outputs["md"] for step in plan.of_kind("table")),
        plan.step("verdicts", "toy").outputs["md"],
    ]
    assert [str(path) for path in chosen(toy_plan, ["toy/verdicts"])] == every[-1:]
    assert [str(path) for path in chosen(toy_plan, ["toy"])] == every
    with pytest.raises(RobustftError, match="did you mean 'toy/main'"):
        chosen(toy_plan, ["toy/mian"])
