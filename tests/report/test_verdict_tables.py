"""Verdicts as tables: a row for each claim and long table, and the cells of a long table in their source's layout."""

import pytest

from robustft.report.formats import to_html, to_markdown
from robustft.report.verdict_tables import build_grid, cell_grids, interval_text, p_text, remarks, verdict_text

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
        {
            "cell": ["robust", "strong|x", "D"],
            "verdict": "reproduced",
            "at_half_margin": "inconclusive",
            "at_double_margin": "reproduced",
            "estimate": 0.0,
            "low": -0.01,
            "high": 0.01,
            "selection": "test",
        },
        {"cell": ["robust", "weak", "D"], "verdict": "not comparable", "estimate": 0.4, "low": 0.3, "high": 0.5},
        {"cell": ["robust", "weak", "E"], "verdict": "no published value on record"},
        {"cell": ["robust", "strong|x", "E"], "verdict": "not trained", "failed_checks": ["c"], "selection": "test"},
    ],
}
UNREAD = {**TABLE, "id": "u", "verdicts": {}, "outside": {}, "cells": [], "unread": "nothing"}


def column(grid, name: str) -> list[str]:
    return [row[1 + grid.column_names.index(name)] for row in grid.rows]


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, ""),
        ({"estimate": -1e-9, "low": -0.01, "high": 0.01}, "+0.0 [-1.0, +1.0]"),
        ({"estimate": 2, "low": 1, "high": 3, "unit": "epochs"}, "+2.0 [+1.0, +3.0] epochs"),
        ({"estimate": 0.05}, "+5.0 of one seed"),
        ({"estimate": 34176.0, "unit": "parameters", "exact": True}, "+34,176 parameters"),
    ],
    ids=["no interval", "zero has no minus", "a unit is no percentage", "one seed", "exact"],
)
def test_a_difference_is_in_points_unless_it_has_a_unit(more, text):
    assert interval_text({**CLAIM, **more}) == text


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({}, "holds"),
        ({"exact": True}, "holds, exact"),
        ({"failed_checks": ["pgd: weak failed in 1 of 3 measurements"]}, "holds †"),
    ],
)
def test_a_verdict_says_whether_it_is_exact_and_whether_a_sanity_check_failed(more, text):
    assert verdict_text({**CLAIM, "verdict": "holds", **more}) == text


@pytest.mark.parametrize(
    ("margin", "text"),
    [(1.0, "+0.0 [-0.1, +0.1]"), (0.2, "+0.02 [-0.06, +0.11]"), (0.05, "+0.023 [-0.062, +0.108]")],
)
def test_a_small_margin_is_told_with_more_decimals(margin, text):
    verdict = {"verdict": "reproduced", "estimate": 0.00023, "low": -0.00062, "high": 0.00108, "margin": margin}
    assert interval_text(verdict) == text


def test_raw_and_adjusted_p_values_are_shown():
    assert p_text({**CLAIM, "p": 0.012, "p_holm": 0.048}) == ".012, .048"
    assert p_text({**CLAIM, "p": 1e-9, "p_holm": 1.0}) == "< .001, 1"
    assert p_text(CLAIM) == ""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"untrained": ["at, seed 1: 12 of 64 of d"]}, ["may be guessing: at, seed 1: 12 of 64 of d"]),
        ({"chosen": "selfie"}, ["best on validation images: selfie"]),
        ({"below": 3.0}, ["at most 3 points below still holds"]),
        ({"margin": 3.0}, []),
        ({"by_dataset": {"number": 15, "other_way": 4}}, ["4 of 15 data sets go the other way"]),
        ({"selection": "test"}, ["the published checkpoint was chosen on the test images"]),
        ({"selection": "validation"}, []),
        ({"seeds_needed": 5}, ["5 seeds with this spread would fit the margin"]),
        ({"images": {"d": 512}, "published_images": {"d": 10_000}}, ["on 512 test images, published on 10,000"]),
        ({"failed_checks": ["at under aa: weak"]}, ["† at under aa: weak"]),
    ],
)
def test_what_must_be_said_stands_beside_the_verdict(more, told):
    assert remarks({**CLAIM, **more}) == told


def test_no_number_of_seeds_may_fit_a_margin():
    (told,) = remarks({**CLAIM, "seeds_needed": None})
    assert told.startswith("no number of seeds")


def test_columns_that_would_be_empty_are_left_out():
    plain = build_grid(SPEC, {"verdicts": [CLAIM]})
    assert plain.column_names == ["verdict", "confidence", "source"]
    judged = {**CLAIM, "p": 0.01, "p_holm": 0.02, "at_half_margin": "differs", "at_double_margin": "reproduced"}
    full = build_grid(SPEC, {"verdicts": [CLAIM, {**judged, "estimate": 0.1, "low": 0.0, "high": 0.2, "given": ["a"]}]})
    assert full.column_names == ["verdict", "difference", "p", "margins", "given", "confidence", "source"]
    assert column(full, "margins") == ["", "differs / reproduced"]
    assert column(full, "given") == ["", "a"]
    assert all(len(row) == len(full.header) == len(full.alignment) for row in full.rows)


def test_a_long_table_is_one_row_and_its_values_without_a_run_are_counted():
    grid = build_grid(SPEC, {"verdicts": [CLAIM], "tables": [TABLE, UNREAD]})
    assert grid.row_names == ["c", "t"]
    assert column(grid, "verdict") == ["inconclusive", "differs 1, reproduced 1"]
    assert grid.notes[-3:] == [
        "In tables of published values: differs 1, reproduced 1.",
        "Outside of what is run: 7 published values that no run corresponds to (other_eps 7).",
        "Tables that could not be read at all: 1.",
    ]


def test_a_table_without_judged_cells_has_no_row():
    content = {"verdicts": [CLAIM], "tables": [UNREAD]}
    assert len(build_grid(SPEC, content).rows) == 1
    assert cell_grids(content) == []


def test_the_reason_of_each_margin_is_told_where_it_is_used():
    notes = build_grid(SPEC, {"verdicts": [CLAIM], "margins": {"1 points": "because"}}).notes
    assert "Margin of 1 points: because" in notes


def test_between_stand_ins_the_table_says_that_nothing_is_judged():
    notes = build_grid({**SPEC, "reproduces": False}, {"verdicts": [CLAIM], "margins": {"1 points": "because"}}).notes
    assert "no verdict: it is no evidence about the paper" in notes[0]
    assert not any(note.startswith("Margin") for note in notes)


def test_what_an_interval_is_conditional_on_is_told_once():
    conditional = {**CLAIM, "given": ["robust"]}
    notes = build_grid(SPEC, {"verdicts": [CLAIM, conditional, conditional]}).notes
    assert sum("Pre-training ran once" in note for note in notes) == 1
    assert not any("Pre-training" in note for note in build_grid(SPEC, {"verdicts": [CLAIM]}).notes)


def test_the_cells_are_laid_out_as_in_their_source_with_the_verdicts_at_three_margins():
    (grid,) = cell_grids({"tables": [TABLE, UNREAD]})
    assert grid.header == ["Metric", "Method", "D", "E"]
    assert [row[2:] for row in grid.rows] == [["+0.0 ? = =", "not trained †"], ["+40.0 ~", "–"]]
    assert "the published checkpoint was chosen on the test images (2 of 4 cells)" in grid.notes
    assert "weak" in grid.notes
    assert "| robust | strong\\|x | +0.0 ? = = |" in to_markdown(grid)  # a bar would end a cell of Markdown


def test_a_page_shows_what_says_nothing_about_the_paper_in_grey():
    direction, holds = {**CLAIM, "verdict": "direction here"}, {**CLAIM, "id": "d", "verdict": "holds"}
    stand_ins = {**TABLE, "verdicts": {"not comparable": 3}}
    grid = build_grid(SPEC, {"verdicts": [direction, holds], "tables": [TABLE, {**stand_ins, "id": "u"}]})
    assert [line.startswith('<tr class="unjudged">') for line in to_html(grid).splitlines() if "<td" in line] == [
        True,
        False,
        False,
        True,
    ]
