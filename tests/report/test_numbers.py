"""Numbers come from ledgers and nowhere else; failed checks are stored with them."""

import pytest

from robustft.errors import IntegrityError
from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.report.numbers import compute, joined, metrics, trainings
from tests.report.outcomes import PASSED, outcome

THREAT = {"norm": "linf", "eps": "8/255"}
ON_D = {"trained_on": "d", "dataset": "d", "transfer_eval": False, "evaluation": "e", "split": "test", "threat": THREAT}
SPEC = {"scale": "demo", "paper": "p", "reproduces": False, "controls": {}, "trainings": [], "checks": {}}


def make(tmp_path, ledgers: dict[str, tuple[str, str, int, list[Outcome]]], controls=None, checks=None, expected=None):
    paths, members = {}, []
    for name, (experiment, method, seed, outcomes) in ledgers.items():
        paths[name] = tmp_path / f"{name}.parquet"
        write_ledger(
            paths[name], [o.table() for o in outcomes], checks={"model": PASSED | (checks or {}).get("model", {})}
        )
        member = {"ledger": name, "experiment": experiment, **ON_D, "method": method, "seed": seed}
        members.append({**member, "attacks": [o.attack for o in outcomes]})
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


def select_and_robustness(tmp_path, *, split: str) -> dict:
    """Count two evaluations of one run: `select` on 96 images of a split, `robustness` on 64 test images.

    The first image of each is wrong.
    """
    paths, members = {}, []
    for name, images, its_split in (("select", 96, split), ("robustness", 64, "test")):
        paths[name] = tmp_path / name
        attacks, correct = ["clean", "pgd10"], "0" + "1" * (images - 1)
        write_ledger(paths[name], [outcome(attack, correct).table() for attack in attacks], checks={"model": PASSED})
        member = {"ledger": name, "experiment": "main", **ON_D, "method": "at", "seed": 0, "attacks": attacks}
        members.append({**member, "evaluation": name, "split": its_split})
    return compute({**SPEC, "members": members}, paths)


def test_validation_and_test_images_are_never_pooled(tmp_path):
    """96 validation and 64 test images were once one row of "160 test images"."""
    found = select_and_robustness(tmp_path, split="validation")
    cells = {(cell["evaluation"], cell["split"], cell["attack"]): cell for cell in found["cells"]}
    assert {key: cell["images"] for key, cell in cells.items()} == {
        ("select", "validation", "clean"): 96,
        ("select", "validation", "pgd10"): 96,
        ("robustness", "test", "clean"): 64,
        ("robustness", "test", "pgd10"): 64,
    }
    assert cells["select", "validation", "clean"]["mean"] == 95 / 96
    assert cells["robustness", "test", "clean"]["mean"] == 63 / 64
    assert len({one["id"] for one in found["measurements"]}) == 4
    assert metrics(found)["main"]["select"]["d"]["at"]["pgd10"] == 95 / 96


def test_two_evaluations_of_the_same_images_are_two_cells(tmp_path):
    """They share images, and counting those together was an error after all training."""
    found = select_and_robustness(tmp_path, split="test")
    assert [cell["images"] for cell in found["cells"]] == [96, 96, 64, 64]


def failed(found: dict, evaluation: str) -> set[str]:
    return {c for cell in found["cells"] if cell["evaluation"] == evaluation for c in cell["failed_checks"]}


def test_a_check_compares_attacks_of_two_evaluations_only_on_the_same_split_and_threat(tmp_path):
    """AutoAttack runs on fewer images than PGD, in an evaluation of its own, and is compared all the same."""
    expected = {"strong": {"not_weaker_than": ["weak"]}}
    for split, threat, names in (
        ("test", THREAT, {"not_weaker_than_weak"}),
        ("validation", THREAT, set()),
        ("test", {**THREAT, "eps": "4/255"}, set()),
    ):
        folder = tmp_path / f"{split}{threat['eps'][0]}"
        folder.mkdir()
        weak, strong = folder / "weak", folder / "strong"
        write_ledger(weak, [outcome("weak", "0" * 16).table()], checks={"model": PASSED})
        write_ledger(strong, [outcome("strong", "1" * 16).table()], checks={"model": PASSED})
        member = {"experiment": "main", **ON_D, "method": "at", "seed": 0}
        members = [
            {**member, "ledger": "weak", "evaluation": "a", "attacks": ["weak"], "split": split, "threat": threat},
            {**member, "ledger": "strong", "evaluation": "b", "attacks": ["strong"]},
        ]
        found = compute({**SPEC, "members": members, "checks": expected}, {"weak": weak, "strong": strong})
        assert failed(found, "b") == names


def test_a_control_is_of_the_same_split(tmp_path):
    paths, members = {}, []
    for name, experiment, split, correct in (
        ("a", "main", "test", "1100"),
        ("fallen", "control", "test", "0000"),
        ("standing", "control", "validation", "1111"),
    ):
        paths[name] = tmp_path / name
        write_ledger(paths[name], [outcome("pgd10", correct * 4).table()], checks={"model": PASSED})
        member = {"ledger": name, "experiment": experiment, **ON_D, "method": "at", "seed": 0, "attacks": ["pgd10"]}
        members.append({**member, "split": split, "evaluation": split})
    spec = {**SPEC, "members": members, "controls": {"main": "control"}, "checks": {"pgd10": {"control_below": 0.5}}}
    (cell,) = [one for one in compute(spec, paths)["cells"] if one["experiment"] == "main"]
    assert cell["failed_checks"] == []


def test_an_image_in_two_parts_is_an_error():
    with pytest.raises(IntegrityError, match="in two parts"):
        joined([outcome("clean", "11"), outcome("clean", "11", first=1)])


def test_a_ledger_without_the_attack_is_an_error(tmp_path):
    path = tmp_path / "a.parquet"
    write_ledger(path, [outcome("clean", "11").table()], checks={"model": PASSED})
    member = {"ledger": "a", "experiment": "m", **ON_D, "method": "at", "seed": 0, "attacks": ["pgd20"]}
    with pytest.raises(IntegrityError, match="no rows for pgd20"):
        compute({**SPEC, "members": [member]}, {"a": path})


def test_the_configurations_checks_are_those_that_are_made(tmp_path):
    ledgers = {"a": ("main", "at", 0, [outcome("weak", "1" * 8 + "0" * 8), outcome("strong", "1" * 16)])}
    ledgers["c"] = ("control", "standard", 0, [outcome("weak", "1" * 16), outcome("strong", "1" * 16)])
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
    write_ledger(ledger, [outcome("clean", "11").table()], checks={"model": PASSED})
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
    assert metrics(found) == {"main": {"e": {"d": {"at": {"clean": 1.0}}}}}
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
        write_ledger(paths[dataset], [outcome("clean", correct).table()], checks={"model": PASSED})
        member = {"ledger": dataset, "experiment": "main", **ON_D, "dataset": dataset, "method": "at", "seed": 0}
        members.append({**member, "attacks": ["clean"]})
    found = compute({**SPEC, "members": members}, paths)
    assert {m["dataset"]: m["accuracy"] for m in found["measurements"]} == {"d": 0.5, "e": 0.75}
    assert {cell["dataset"]: cell["mean"] for cell in found["cells"]} == {"d": 0.5, "e": 0.75}
