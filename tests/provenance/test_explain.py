"""Every kind of cell is explained back to its data."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.plan import Plan
from robustft.provenance.explain import explain
from robustft.report.formats import parse_rows


def words(plan: Plan, cell: str) -> str:
    """Return what is said of a cell on one line, so that a wrapped sentence can be found."""
    return " ".join(explain(plan, cell).split())


def cell_text(plan: Plan, table: str, row: int, column: int) -> str:
    path = Path(plan.step("table", f"toy/{table}").outputs["md"])
    return parse_rows(path.read_text(encoding="utf-8"), "md")[row][column]


def test_an_accuracy_is_explained_from_its_ledgers_to_its_data(finished):
    said = words(finished, "toy/main:at/fgsm")
    assert f"AT under FGSM on high reads {cell_text(finished, 'main', 0, 2)} (percent)" in said
    assert "of the share of 20 test images that stay correct, in the evaluation 'robustness'." in said
    for seed in (0, 1):
        assert f"Ledger: results/small/toy/main/high/at/seed{seed}/robustness.1of1.ledger.parquet" in said
        assert f"Model: results/small/toy/main/high/at/seed{seed}/checkpoint.safetensors" in said
    assert "Attack: FGSM" in said
    assert "Attack: Clean" not in said, "another attack of the same ledger"
    assert "Made from: sklearn/datasets/data/digits.csv.gz, SHA-256 09f66e6debde..." in said
    assert "BUT" not in said


def test_a_step_is_described_once_and_of_another_seed_only_what_differs(finished):
    said = words(finished, "toy/main:at/fgsm")
    assert said.count("Initial weights: results/small/pretraining/low_standard/checkpoint.safetensors") == 2
    assert said.count("Made from:") == said.count("Trains: everything.") - 1 == 1
    assert "As toy/main/high/at/seed0, but: Seed: 1." in said


def test_a_file_that_is_not_what_its_record_says_is_marked_where_it_is_named(tampered):
    said = words(tampered, "toy/main:at/epochs_to_best")
    assert said.count("BUT THE FILE NOW HAS") == 1
    Path(tampered.step("train", "toy/main/high/at/seed1").outputs["history"]).unlink()
    assert "BUT THE FILE IS MISSING" in words(tampered, "toy/main:at/epochs_to_best")


def test_a_derived_models_number_is_explained_back_to_each_of_its_checkpoints(finished):
    said = words(finished, "toy/main:merged/clean")
    assert "toy_run:averaged from 2 checkpoints" in said
    for name in ("at", "partial"):
        for seed in (0, 1):
            assert f"Model: results/small/toy/main/high/{name}/seed{seed}/checkpoint.safetensors" in said
    assert "high/merged/seed0/checkpoint" not in said, "it has none"


def test_a_run_that_started_from_another_run_is_explained_back_to_that_one_and_on(finished):
    said = words(finished, "toy/main:continued/clean")
    order = [said.index(f"small/{part}/checkpoint") for part in
             ("toy/main/high/continued/seed0", "toy/main/high/at/seed0", "pretraining/low_standard")]  # fmt: skip
    assert order == sorted(order)


@pytest.mark.parametrize(("column", "place"), [("epochs_to_best", 3), ("trained_parameters", 4)])
def test_a_value_of_training_is_explained_by_its_histories(column, place, finished):
    said = words(finished, f"toy/main:at/{column}")
    assert f"of AT on high reads {cell_text(finished, 'main', 0, place)} in" in said
    for seed in (0, 1):
        assert f"Seed {seed}: read from results/small/toy/main/high/at/seed{seed}/history.csv" in said
    assert "percent" not in said


def test_a_cell_of_a_transfer_evaluation_is_that_data_sets_and_an_average_all_of_them(finished):
    said = words(finished, "toy/across:at/low")
    assert f"AT under PGD-2 on low reads {cell_text(finished, 'across', 0, 2)} (percent)" in said
    assert "transfer-low.1of1.ledger.parquet" in said
    assert "transfer-high.1of1.ledger.parquet" not in said
    said = words(finished, "toy/across:at/average")
    assert "over the data sets below, seed by seed" in said
    assert "transfer-low.1of1.ledger.parquet" in said
    assert "transfer-high.1of1.ledger.parquet" in said


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("toy/across:at/averag", "did you mean 'average'"),
        ("toy/across:at/fgsm", "no column 'fgsm'"),
        ("toy/main:art/fgsm", "did you mean 'at'"),
        ("toy/main", "names no cell"),
    ],
)
def test_a_cell_that_is_not_there_is_an_error(cell, message, finished):
    with pytest.raises(RobustftError, match=message):
        explain(finished, cell)


@pytest.mark.parametrize("column", ["clean", "fgsm"])
def test_a_claim_about_two_attacks_stands_under_the_cells_of_both(column, finished):
    assert "Claim: AT loses clean accuracy under attack" in words(finished, f"toy/main:at/{column}")


def test_a_claim_does_not_stand_under_cells_that_it_says_nothing_of(finished):
    assert "Claim:" not in words(finished, "toy/main:merged/fgsm")
