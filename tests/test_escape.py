"""What is put into a format is shown by it and never obeyed."""

import pytest

from robustft import escape
from robustft.report.formats import FORMATS, Grid, parse_rows


@pytest.mark.parametrize(
    ("function", "text", "safe"),
    [
        (escape.latex, r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        (escape.latex, "a~b^c ±", r"a\textasciitilde{}b\textasciicircum{}c $\pm$"),
        (escape.latex, "a\n\\write18", r"a \textbackslash{}write18"),
        (escape.csv, "=HYPERLINK(1)", "'=HYPERLINK(1)"),
        (escape.csv, "@SUM(1)", "'@SUM(1)"),
        (escape.csv, "-cmd", "'-cmd"),
        (escape.csv, "-0.5", "-0.5"),
        (escape.csv, -0.5, -0.5),
        (escape.markdown, "<script>", r"\<script>"),
        (escape.markdown, "p < .001", "p < .001"),
        (escape.markdown, escape.markdown("<!-- a\nb -->"), r"\<!-- a b -->"),
        (escape.markdown_cell, r"a | b \| c", r"a \| b \| c"),
        (escape.html, "<a href='x'>", "&lt;a href=&#x27;x&#x27;&gt;"),
        (escape.rst, ".. raw:: html", r"\.. raw:: html"),
        (escape.rst, "a\n\n.. include:: /etc/passwd", "a .. include:: /etc/passwd"),
        (escape.rst, "`x`_ |y| text::", r"\`x\`\_ \|y\| text\::"),
        (escape.terminal, "a\x1b[8m\u202e\ud800", r"a\x1b[8m\u202e\ud800"),
        (escape.terminal, "PASS\nä", r"PASS\nä"),
    ],
)
def test_text_is_data_of_the_format(function, text, safe):
    assert function(text) == safe


def test_a_terminal_keeps_line_breaks_that_are_asked_for():
    assert escape.terminal("a\r\nb\x07", lines=True) == "a\\r\nb\\x07"


HOSTILE = r"=cmd|\input{x} <script>"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_hostile_title_adds_no_cell_no_command_and_no_markup(kind):
    """A bar in a title made a column: a number that was never measured stood in the table."""
    grid = Grid(HOSTILE, ["Method", "PGD"], [[HOSTILE, "1.0"]], ["c", "n\n\\input{x}"], ["m"], ["pgd"], "lr")
    text = FORMATS[kind](grid)
    assert [len(row) for row in parse_rows(text, kind)] == [2]
    if kind == "tex":
        assert "\n\\input" not in text, "a note's second line left its comment"
        assert "\\input" not in text.split("% ")[0]
    if kind in ("md", "html"):
        assert "<script>" not in text.replace(r"\<script>", "")
    if kind == "csv":
        assert text.splitlines()[1].startswith("'=cmd")
