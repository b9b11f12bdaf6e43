"""The formats of a table: each shows the same texts, and the audit can read each one back."""

import pytest

from robustft.report.formats import FORMATS, Grid, markdown_lines, parse_rows

GRID = Grid(
    title="T",
    header=["Method", "Clean"],
    rows=[["AT & co_1 <b>", "97.1 ± 0.5 †"], ["B", "not run"]],
    notes=["100 % of it.", "second"],
    row_names=["at", "b"],
    column_names=["clean"],
    alignment="lr",
)


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
