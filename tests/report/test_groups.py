"""A table in the shape of a paper's: the cells of methods side by side, none lost and none of another method."""

from functools import partial

import pytest

from robustft.report.formats import Grid, to_markdown
from robustft.report.groups import in_groups

pairs = partial(zip, strict=True)

GROUPS = [
    ("(P1,F4)", [("Selfie", "none"), ("Rotation", "none")]),
    ("(P3,F4)", [("Selfie", "selfie"), ("Rotation", "rotation")]),
]


def flat(*, several: bool = False) -> Grid:
    methods = {"none": ["84.7", "47.2"], "selfie": ["86.0", "51.1"]}
    datasets = ["one", "two"] if several else [""]
    return Grid(
        title="T",
        header=[*(["Data set"] if several else []), "Method", "Clean", "PGD-20"],
        rows=[[*([d] if d else []), m, *texts] for d in datasets for m, texts in methods.items()],
        notes=["a note"],
        row_names=[f"{d}.{m}" if d else m for d in datasets for m in methods],
        column_names=["clean", "pgd20"],
        alignment="l" * (2 if several else 1) + "rr",
    )


def test_each_row_has_the_cells_of_its_methods_group_by_group():
    grid = in_groups(flat(), GROUPS)
    assert grid.header == ["Row", "Selfie: Clean", "Selfie: PGD-20", "Rotation: Clean", "Rotation: PGD-20"]
    assert grid.rows == [
        ["(P1,F4)", "84.7", "47.2", "84.7", "47.2"],
        ["(P3,F4)", "86.0", "51.1", "not run", "not run"],
    ]
    assert grid.alignment == "lrrrr"
    assert to_markdown(grid).count("\n|") == 4


def test_each_cell_keeps_the_method_and_column_by_which_it_is_explained():
    places = in_groups(flat(), GROUPS).places
    assert places[0] == [("none", "clean"), ("none", "pgd20"), ("none", "clean"), ("none", "pgd20")]
    assert places[1] == [("selfie", "clean"), ("selfie", "pgd20"), ("rotation", "clean"), ("rotation", "pgd20")]


def test_a_flat_grids_places_are_its_rows_and_columns():
    assert flat().places == [[("none", "clean"), ("none", "pgd20")], [("selfie", "clean"), ("selfie", "pgd20")]]


def test_of_several_data_sets_each_has_its_rows():
    grid = in_groups(flat(several=True), GROUPS)
    assert [row[:2] for row in grid.rows] == [[d, label] for d in ("one", "two") for label, _ in GROUPS]
    assert grid.places[2][0] == ("two.none", "clean")
    assert grid.row_names[2] == "two.(P1,F4)"


@pytest.mark.parametrize("several", [False, True])
def test_no_cell_of_the_flat_grid_is_lost(several):
    before, after = flat(several=several), in_groups(flat(several=several), GROUPS)
    cells = {place: text for row, at in pairs(after.rows, after.places) for place, text in pairs(at, row[-4:])}
    for row, places in pairs(before.rows, before.places):
        assert [cells[place] for place in places] == row[-2:]
