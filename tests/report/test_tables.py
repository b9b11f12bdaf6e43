"""Tables: four views of one grid, each of which the audit can read back."""

import pytest

from pipeline.report.tables import FORMATS, build_grid, cell_text, parse_rows

SPEC = {
    "scale": "demo",
    "paper": "p",
    "reproduces": False,
    "methods": {"at": "AT", "twins_at": "TWINS-AT & co_1 <b>"},
    "attacks": {"clean": "Clean", "pgd20": "PGD-20"},
    "rows": ["at", "twins_at"],
    "table": {
        "name": "main",
        "title": "T",
        "experiment": "main",
        "columns": ["clean", "pgd20"],
        "caption": "100 % of it.",
    },
    "control": "control",
    "deviations": [{"key": "k", "text": "why"}],
}


def cell(method: str, attack: str, mean: float, sd: float | None, *, dataset: str = "d", alarms=()) -> dict:
    key = {"experiment": "main", "dataset": dataset, "method": method, "attack": attack}
    return {**key, "seeds": [0, 1, 2], "images": 128, "mean": mean, "sd": sd, "alarms": list(alarms)}


NUMBERS = {
    "cells": [
        cell("at", "clean", 0.9714, 0.0049),
        cell("at", "pgd20", 0.6912, 0.034, alarms=["probabilities"]),
        cell("twins_at", "clean", 0.9, None),
    ]
}


def test_cell_texts_by_hand():
    assert cell_text(cell("at", "clean", 0.9714, 0.0049)) == "97.1 ± 0.5"
    assert cell_text(cell("at", "clean", 0.9, None)) == "90.0"
    assert cell_text(cell("at", "clean", 0.9, 0.0, alarms=["x"])) == "90.0 ± 0.0 †"
    assert cell_text(None) == "not run"


def test_notes_say_scale_images_alarms_and_deviations():
    notes = "\n".join(build_grid(SPEC, NUMBERS).notes)
    for text in ("Scale demo", "128 test images", "not a reproduction", "† a sanity check failed", "Deviation k: why"):
        assert text in notes


def test_several_data_sets_get_a_column():
    both = {"cells": [*NUMBERS["cells"], cell("at", "clean", 0.5, 0.1, dataset="e")]}
    grid = build_grid(SPEC, both)
    assert grid.header[0] == "Data set"
    assert grid.row_names == ["d.at", "d.twins_at", "e.at", "e.twins_at"]


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_can_be_read_back(kind):
    grid = build_grid(SPEC, NUMBERS)
    rows = parse_rows(FORMATS[kind](grid), kind)
    assert len(rows) == 2
    assert [len(row) for row in rows] == [3, 3]
    assert rows[0][1].replace(r"$\pm$", "±") == "97.1 ± 0.5"


def test_special_characters_survive_each_format():
    grid = build_grid(SPEC, NUMBERS)
    assert r"TWINS-AT \& co\_1" in FORMATS["tex"](grid)
    assert "TWINS-AT &amp; co_1 &lt;b&gt;" in FORMATS["html"](grid)
    assert r"100 \% of it" in FORMATS["tex"](grid)


def test_images_are_given_by_column_where_columns_differ():
    subset = {**cell("at", "pgd20", 0.5, 0.1), "images": 40}
    notes = "\n".join(build_grid(SPEC, {"cells": [cell("at", "clean", 0.9, 0.1), subset]}).notes)
    assert "test images by column: Clean 128, PGD-20 40" in notes


def test_the_undefended_control_is_shown_under_the_table():
    control = {**cell("standard", "pgd20", 0.004, None), "experiment": "control"}
    grid = build_grid(SPEC, {"cells": [*NUMBERS["cells"], control]})
    assert "Undefended control under the same attacks: PGD-20 0.4." in grid.notes
    assert len(grid.rows) == 2
