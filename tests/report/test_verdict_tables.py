"""Verdicts as tables: a row for each claim and long table, and the cells of a long table in their source's layout."""

import pytest

from robustft.report.formats import to_markdown
from robustft.report.verdict_tables import build_grid, cell_grids

SPEC = {"paper": "p", "scale": "s", "reproduces": True}
CLAIM = {"id": "c", "statement": "s", "source": "p", "confidence": "direct", "verdict": "inconclusive"}
TABLE = {
    "id": "t",
    "about": "a table",
    "source": "there",
    "confidence": "secondary",
    "caveats": ["weak"],
    "verdicts": {"reproduced": 1, "differs": 1},
    "outside": {"other_eps": 7},
    "cells": [
        {"cell": ["robust", "strong|x", "D"], "verdict": "reproduced", "estimate": 0.0},
        {"cell": ["robust", "weak", "D"], "verdict": "differs", "estimate": 0.4},
        {"cell": ["robust", "weak", "E"], "verdict": "no published value on record"},
    ],
}
UNREAD = {**TABLE, "id": "u", "verdicts": {}, "outside": {}, "cells": [], "unread": "nothing"}


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, ""),
        ({"estimate": -1e-9, "low": -0.01, "high": 0.01}, "+0.0 [-1.0, +1.0]"),
        ({"estimate": 2, "low": 1, "high": 3, "unit": "epochs"}, "+2.0 [+1.0, +3.0] epochs"),
    ],
    ids=["no interval", "zero has no minus", "a unit is no percentage"],
)
def test_a_difference_is_in_points_unless_it_has_a_unit(more, text):
    assert build_grid(SPEC, {"verdicts": [{**CLAIM, **more}]}).rows[0][2] == text


def test_a_long_table_is_one_row_and_its_values_without_a_run_are_counted():
    grid = build_grid(SPEC, {"verdicts": [CLAIM], "tables": [TABLE, UNREAD]})
    assert grid.row_names == ["c", "t"]
    assert grid.rows[1][:3] == ["a table", "differs 1, reproduced 1", ""]
    assert grid.notes[1:] == [
        "In tables of published values: differs 1, reproduced 1.",
        "Outside of what is run: 7 published values that no run corresponds to (other_eps 7).",
        "Tables that could not be read at all: 1.",
    ]


def test_a_table_without_judged_cells_has_no_row():
    content = {"verdicts": [CLAIM], "tables": [UNREAD]}
    assert len(build_grid(SPEC, content).rows) == 1
    assert cell_grids(content) == []


def test_stand_ins_are_not_comparable_with_published_values():
    notes = build_grid({**SPEC, "reproduces": False}, {"verdicts": []}).notes
    assert "Published values are not comparable with this scale's stand-ins." in notes


def test_the_cells_are_laid_out_as_in_their_source():
    (grid,) = cell_grids({"tables": [TABLE, UNREAD]})
    assert grid.header == ["Metric", "Method", "D", "E"]
    assert [row[2:] for row in grid.rows] == [["+0.0 =", ""], ["+40.0 ≠", "–"]]
    assert "weak" in grid.notes
    assert "| robust | strong\\|x | +0.0 = |" in to_markdown(grid)  # a bar would end a cell of Markdown
