"""Numbers come from ledgers and nowhere else; failed checks are stored with them."""

import pytest

from robustft.errors import IntegrityError
from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.report.numbers import compute, joined, metrics, trainings
from tests.report.outcomes import outcome

ON_D = {"trained_on": "d", "dataset": "d", "transfer_eval": False}
SPEC = {"scale": "demo", "paper": "p", "reproduces": False, "controls": {}, "trainings": [], "checks": {}}


def make(tmp_path, ledgers: dict[str, tuple[str, str, int, list[Outcome]]], controls=None, checks=None, expected=None):
    paths, members = {}, []
    for name, (experiment, method, seed, outcomes) in ledgers.items():
        paths[name] = tmp_path / f"{name}.parquet"
        write_ledger(paths[name], [o.table() for o in outcomes], checks=checks or {})
        member = {"ledger": name, "experiment": experiment, **ON_D, "method": method, "seed": seed}
        members.append({**member, "evaluation": "e", "attacks": [o.attack for o in outcomes]})
    spec = {**SPEC, "members": members, "controls": controls or {}, "checks": expected or {}}
    return compute(spec, paths)


def test_accuracy_is_counted_and_parts_are_joined(tmp_path):
    found = make(
        tmp_path,
        {
            "a": ("main", "at", 0, [outcome("clean", "1110")]),
            "b": ("main", "at", 0, [outcome("clean", "1100", first=4)]),
            "c": ("main", "at", 1, [outcome("clean", "11111110")]),
        },
    )
    by_seed = {m["seed"]: m for m in found["measurements"]}
    assert (by_seed[0]["correct"], by_seed[0]["images"], by_seed[0]["accuracy"]) == (5, 8, 0.625)
    assert [ledger["step"] for ledger in by_seed[0]["ledgers"]] == ["a", "b"]
    (cell,) = found["cells"]
    # mean of 5/8 and 7/8; sample sd |7/8 - 5/8| / sqrt 2
    assert cell["mean"] == 0.75
    assert cell["sd"] == pytest.approx(0.25 / 2**0.5)


def test_an_image_in_two_parts_is_an_error():
    with pytest.raises(IntegrityError, match="in two parts"):
        joined([outcome("clean", "11"), outcome("clean", "11", first=1)])


def test_a_ledger_without_the_attack_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    write_ledger(path, [outcome("clean", "11").table()], checks={})
    member = {"ledger": "a", "experiment": "m", **ON_D, "method": "at", "seed": 0, "attacks": ["pgd20"]}
    with pytest.raises(IntegrityError, match="no rows for pgd20"):
        compute({**SPEC, "members": [member]}, {"a": path})


def test_the_configurations_checks_are_those_that_are_made(tmp_path):
    ledgers = {"a": ("main", "at", 0, [outcome("weak", "1100"), outcome("strong", "1111")])}
    ledgers["c"] = ("control", "standard", 0, [outcome("weak", "1111"), outcome("strong", "1111")])
    expected = {"strong": {"not_weaker_than": ["weak"], "control_below": 0.5}}
    found = make(tmp_path, ledgers, controls={"main": "control"}, expected=expected)
    cells = {(cell["experiment"], cell["attack"]): cell["failed_checks"] for cell in found["cells"]}
    assert cells["main", "weak"] == []
    assert cells["main", "strong"] == ["control_falls", "not_weaker_than_weak"]


def test_alarms_reach_the_cell(tmp_path):
    found = make(tmp_path, {"a": ("main", "at", 0, [outcome("clean", "11")])}, checks={"model": {"probabilities": 1.0}})
    assert found["cells"][0]["failed_checks"] == ["probabilities"]


# -- what training tells -----------------------------------------------------------------------------------------------

RUN = {"experiment": "main", "dataset": "d", "method": "at", "seed": 0, "trained": True}


@pytest.fixture
def told(tmp_path):
    """Write histories of (epoch, robust validation or nothing, trained parameters) and say what they tell."""

    def tell(histories: dict[str, list[tuple[int, str, int]]], *runs: dict) -> list[dict]:
        for name, rows in histories.items():
            lines = [f"{epoch},{robust},{count}" for epoch, robust, count in rows]
            text = "\n".join(["epoch,robust_validation,trained_parameters", *lines]) + "\n"
            (tmp_path / name).write_text(text)
        return trainings({"trainings": list(runs)}, {name: tmp_path / name for name in histories})

    return tell


def values(found: list[dict]) -> dict[str, object]:
    return {entry["metric"]: entry["value"] for entry in found}


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([(1, "0.2", 7), (2, "0.5", 7), (3, "0.4", 7)], 2),
        ([(1, "0.2", 7), (2, "0.5", 7), (3, "0.5", 7)], 2),  # of equals the first
        ([(5, "0.5", 7), (10, "0.75", 7), (15, "0.9", 7)], 15),
        ([(1, "", 7), (2, "0.1", 7), (3, "", 7), (4, "0.05", 7)], 2),  # not every epoch is watched
        ([(8, "0.3", 7), (9, "0.25", 7), (10, "1e-2", 7)], 8),  # as numbers, not as texts
    ],
)
def test_epochs_to_best_is_the_first_epoch_with_the_best_robust_validation(rows, best, told):
    found = told({"h": rows}, {**RUN, "histories": ["h"]})
    assert values(found) == {"epochs_to_best": best, "trained_parameters": 7}
    assert {entry["metric"]: entry["unit"] for entry in found} == {
        "epochs_to_best": "epochs",
        "trained_parameters": "count",
    }
    same = {key: value for key, value in RUN.items() if key != "trained"}
    assert all(same.items() <= entry.items() for entry in found)


def test_a_derived_run_has_the_parameters_of_all_that_it_is_made_from_and_no_epochs(told):
    histories = {"a": [(1, "0.2", 100), (2, "0.3", 100)], "b": [(1, "0.9", 20)], "c": [(1, "0.9", 3)]}
    derived = {**RUN, "method": "merged", "trained": False, "histories": ["a", "b", "c"]}
    assert values(told(histories, derived)) == {"trained_parameters": 123}


def test_what_training_tells_becomes_cells_of_their_own_unit_beside_the_accuracies(tmp_path):
    ledger = tmp_path / "l"
    write_ledger(ledger, [outcome("clean", "11").table()], checks={})
    member = {"ledger": "l", "experiment": "main", **ON_D, "method": "at", "seed": 0, "attacks": ["clean"]}
    files = {"l": ledger}
    for seed, best in ((0, 2), (1, 4)):
        files[f"h{seed}"] = tmp_path / f"h{seed}"
        rows = "\n".join(f"{epoch},{float(epoch == best)},50" for epoch in range(1, 5))
        files[f"h{seed}"].write_text(f"epoch,robust_validation,trained_parameters\n{rows}\n")
    runs = [{**RUN, "seed": seed, "histories": [f"h{seed}"]} for seed in (0, 1)]
    found = compute({**SPEC, "members": [member], "trainings": runs}, files)
    cells = {cell["attack"]: cell for cell in found["cells"]}
    assert list(cells) == ["clean", "trained_parameters", "epochs_to_best"]
    # Epochs 2 and 4: mean 3, sample sd 2 / sqrt 2.
    assert cells["epochs_to_best"]["mean"] == 3.0
    assert cells["epochs_to_best"]["sd"] == pytest.approx(2**0.5)
    assert cells["epochs_to_best"]["seeds"] == [0, 1]
    assert (cells["trained_parameters"]["mean"], cells["trained_parameters"]["sd"]) == (50.0, 0.0)
    assert {name: cell["unit"] for name, cell in cells.items()} == {
        "clean": "share",
        "trained_parameters": "count",
        "epochs_to_best": "epochs",
    }
    keys = {frozenset(cell) for cell in cells.values()}
    assert len(keys) == 1, "all cells have the same parts"
    # Metrics of training are no accuracies: what `dvc metrics` compares are shares.
    assert metrics(found) == {"main": {"d": {"at": {"clean": 1.0}}}}
    assert [(entry["seed"], entry["metric"], entry["value"]) for entry in found["trainings"]] == [
        (0, "trained_parameters", 50),
        (0, "epochs_to_best", 2),
        (1, "trained_parameters", 50),
        (1, "epochs_to_best", 4),
    ]


def test_one_run_on_several_data_sets_has_a_measurement_and_a_cell_for_each(tmp_path):
    paths, members = {}, []
    for dataset, correct in (("d", "1100"), ("e", "1110")):
        paths[dataset] = tmp_path / dataset
        write_ledger(paths[dataset], [outcome("clean", correct).table()], checks={})
        member = {"ledger": dataset, "experiment": "main", **ON_D, "dataset": dataset, "method": "at", "seed": 0}
        members.append({**member, "evaluation": "e", "attacks": ["clean"]})
    found = compute({**SPEC, "members": members}, paths)
    assert {m["dataset"]: m["accuracy"] for m in found["measurements"]} == {"d": 0.5, "e": 0.75}
    assert {cell["dataset"]: cell["mean"] for cell in found["cells"]} == {"d": 0.5, "e": 0.75}
