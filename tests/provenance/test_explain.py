"""A whole small run in one process: the audit finds nothing, and every kind of cell is told back to its data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from robustft.errors import RobustftError
from robustft.files import read_json
from robustft.plan import Plan
from robustft.provenance import audit as auditing
from robustft.provenance.explain import explain
from robustft.provenance.run import run_step
from robustft.report.tables import parse_rows
from tests import toy_config
from tests.toy_config import method, part


def averaged(models):
    """A derivation: the mean of some models' weights."""
    states, first = [model.state_dict() for model in models], models[0]
    first.load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
    return first


PAPER = {
    "methods": {
        "merged": method(title="Merged", **{"from": ["at", "partial"]}, derivation=part(f"{__name__}:averaged")),
        "continued": method(toy_config.STANDARD, title="Continued", **{"from": ["at"]}),
    },
    "experiments": {
        "main": {"methods": ["at", "partial", "merged", "continued"], "evaluations": ["robustness", "elsewhere"]}
    },
    "evaluations": {
        "elsewhere": {
            "attacks": ["pgd2"],
            "split": "test",
            "shard_images": 20,
            "parts": 1,
            "datasets": ["high", "low"],
        },
    },
    "tables": {
        "main": {"columns": ["clean", "fgsm", "epochs_to_best", "trained_parameters"]},
        "across": {"title": "T", "experiment": "main", "across": "datasets", "metric": "pgd2", "caption": "C"},
    },
    "claims": [
        {
            "id": "gap",
            "statement": "AT loses clean accuracy under attack",
            "kind": "ordering",
            "experiment": "main",
            "left": "at",
            "right": "at",
            "metric": "clean",
            "left_metric": "clean",
            "right_metric": "fgsm",
            "source": "S",
            "confidence": "direct",
        },
        {
            "id": "quick",
            "statement": "AT needs fewer epochs",
            "kind": "ordering",
            "experiment": "main",
            "left": "at",
            "right": "partial",
            "metric": "epochs_to_best",
            "source": "S",
            "confidence": "direct",
        },
    ],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The plan of a small run, all of whose steps were run in the folder that is the current one."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    folder, before = tmp_path_factory.mktemp("finished"), Path.cwd()
    plan = Plan(toy_config.write(folder / "config", paper=PAPER))
    os.chdir(folder)
    for step in plan.steps.values():
        run_step(step, log=lambda line: None)
    yield plan
    os.chdir(before)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def told(plan: Plan, cell: str) -> str:
    """A cell's chain on one line, so that a wrapped sentence can be found."""
    return " ".join(explain(plan, cell).split())


def text(plan: Plan, table: str, row: int, column: int) -> str:
    path = Path(plan.step("table", f"toy/{table}").outputs["csv"])
    return parse_rows(path.read_text(encoding="utf-8"), "csv")[row][column]


def test_the_audit_finds_nothing_against_derived_runs_other_data_sets_and_metrics_of_training(finished, monkeypatch):
    monkeypatch.setattr(auditing, "readme_findings", lambda counts: [])  # which shows another run's tables
    report = auditing.audit(finished)
    assert report.findings == []
    assert report.counts["verdicts"] == 2


def test_an_accuracy_is_told_from_its_ledger_to_its_data(finished):
    chain = told(finished, "toy/main:at/fgsm")
    assert f"AT under FGSM on high reads {text(finished, 'main', 0, 2)} (percent)" in chain
    for seed in (0, 1):
        assert f"results/small/toy/main/high/at/seed{seed}/robustness.1of1.ledger.parquet" in chain
    assert chain.count("Its initial weights") == 2
    assert "digits.csv.gz" in chain
    assert "BUT" not in chain


def test_a_derived_models_number_is_told_back_to_each_of_its_checkpoints(finished):
    chain = told(finished, "toy/main:merged/clean")
    assert "test_explain:averaged from 2 checkpoints" in chain
    for name in ("at", "partial"):
        for seed in (0, 1):
            assert f"Model: results/small/toy/main/high/{name}/seed{seed}/checkpoint.safetensors" in chain
    assert "high/merged/seed0/checkpoint" not in chain  # there is none


def test_a_run_that_started_from_another_run_is_told_back_to_that_one_and_to_what_that_started_from(finished):
    chain = told(finished, "toy/main:continued/clean")
    order = [chain.index(f"small/{part}/checkpoint") for part in
             ("toy/main/high/continued/seed0", "toy/main/high/at/seed0", "pretraining/low_standard")]  # fmt: skip
    assert order == sorted(order)


@pytest.mark.parametrize(("column", "place"), [("epochs_to_best", 3), ("trained_parameters", 4)])
def test_a_metric_of_training_is_told_back_to_its_histories(column, place, finished):
    chain = told(finished, f"toy/main:at/{column}")
    assert f"of AT on high reads {text(finished, 'main', 0, place)} in" in chain
    for seed in (0, 1):
        assert f"Seed {seed}: read from results/small/toy/main/high/at/seed{seed}/history.csv (SHA-256" in chain
    assert "percent" not in chain


def test_a_cell_across_data_sets_is_that_data_sets(finished):
    chain = told(finished, "toy/across:at/low")
    assert f"AT under PGD-2 on low reads {text(finished, 'across', 0, 2)} (percent)" in chain
    assert "elsewhere-low.1of1.ledger.parquet" in chain
    assert "elsewhere-high.1of1.ledger.parquet" not in chain


def test_an_average_is_told_by_all_of_its_data_sets(finished):
    chain = told(finished, "toy/across:at/average")
    assert "over the data sets below, seed by seed" in chain
    assert "elsewhere-low.1of1.ledger.parquet" in chain
    assert "elsewhere-high.1of1.ledger.parquet" in chain


def test_a_column_that_the_table_lacks_offers_the_nearest(finished):
    with pytest.raises(RobustftError, match="did you mean 'average'"):
        explain(finished, "toy/across:at/averag")
    with pytest.raises(RobustftError, match="no column 'fgsm'"):
        explain(finished, "toy/across:at/fgsm")


@pytest.mark.parametrize("column", ["clean", "fgsm"])
def test_a_claim_about_two_attacks_is_told_under_the_cells_of_both(column, finished):
    assert "Claim: AT loses clean accuracy under attack" in told(finished, f"toy/main:at/{column}")


def test_a_claim_is_not_told_under_cells_that_it_says_nothing_of(finished):
    assert "Claim:" not in told(finished, "toy/main:merged/fgsm")


def test_the_numbers_of_a_whole_run_agree_with_its_histories(finished):
    """Parameters counted here, epochs read from the files: no step in between can have changed them."""
    cells = {
        (cell["method"], cell["attack"]): cell
        for cell in read_json(finished.step("numbers", "toy").outputs["numbers"])["cells"]
        if cell["dataset"] == "high"
    }
    count = {}
    for name in ("at", "partial"):
        rows = [
            line.split(",")
            for line in Path(finished.step("train", f"toy/main/high/{name}/seed0").outputs["history"])
            .read_text()
            .splitlines()
        ]
        count[name] = int(rows[-1][rows[0].index("trained_parameters")])
        assert cells[name, "trained_parameters"]["mean"] == count[name]
    # The stem: 4 filters of 3 x 3, and a scale and a shift of batch norm for each.
    assert count["at"] - count["partial"] == 4 * 9 + 8
    assert cells["merged", "trained_parameters"]["mean"] == count["at"] + count["partial"]
    assert ("merged", "epochs_to_best") not in cells
