"""The formats of a table: each shows the same texts, and the audit can read each one back."""

from dataclasses import replace

import pytest

from robustft.report.formats import FORMATS, Grid, edited_cells, markdown_lines, parse_rows

GRID = Grid(
    title="T",
    header=["Method", "Clean"],
    rows=[["AT & co_1 <b>", "97.1 ± 0.5 †"], ["B", "not run"]],
    notes=["100 % of it.", "second"],
    row_names=["at", "b"],
    column_names=["clean"],
    alignment="lr",
)


RECORDS = [
    {"row": "at", "column": "clean", "mean": 0.971, "sd": None},
    {"row": "b", "column": "clean", "mean": None, "sd": None},
]


def test_csv_is_of_the_records_if_there_are_any():
    text = FORMATS["csv"](replace(GRID, records=RECORDS))
    assert text == "row,column,mean,sd\nat,clean,0.971,\nb,clean,,\n"
    assert parse_rows(text, "csv") == [["at", "clean", "0.971", ""], ["b", "clean", "", ""]]


@pytest.mark.parametrize(
    ("kind", "old", "new", "name"),
    [
        ("md", "97.1 ±", "99.9 ±", "at/clean"),
        ("html", "97.1 ±", "99.9 ±", "at/clean"),
        ("tex", "97.1 $", "99.9 $", "at/clean"),
        ("csv", "0.971", "0.999", "at/clean (mean)"),
    ],
)
def test_an_edited_cell_is_found_by_its_name(kind, old, new, name):
    grid = replace(GRID, records=RECORDS)
    text = FORMATS[kind](grid)
    assert edited_cells(grid, text, kind) == []
    ((found, observed, due),) = edited_cells(grid, text.replace(old, new), kind) or []
    assert found == name
    assert (observed.startswith(new[:4]), due.startswith(old[:4])) == (True, True)
    last = text.rstrip().splitlines()[-1] if kind == "csv" else "| B | not run |"
    if kind in ("csv", "md"):
        assert edited_cells(grid, text.replace(last + "\n", ""), kind) is None


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_can_be_read_back(kind):
    rows = parse_rows(FORMATS[kind](GRID), kind)
    assert [len(row) for row in rows] == [2, 2]
    assert rows[0][1].replace(r"$\pm$", "±").replace(r"$\dagger$", "†") == "97.1 ± 0.5 †"
    assert rows[1] == ["B", "not run"]


def test_special_characters_survive_each_format():
    assert r"AT \& co\_1 <b>" in FORMATS["tex"](GRID)
    assert r"100 \% of it" in FORMATS["tex"](GRID)
    assert "AT &amp; co_1 &lt;b&gt;" in FORMATS["html"](GRID)


def test_markdown_aligns_text_to_the_left_and_numbers_to_the_right():
    assert markdown_lines(["a", "b"], [["1", "2"]], "lr") == ["| a | b |", "| --- | ---: |", "| 1 | 2 |"]
