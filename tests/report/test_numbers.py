"""Numbers come from ledgers and nowhere else; alarms are stored with them."""

import numpy as np
import pytest

from pipeline.errors import IntegrityError
from pipeline.evaluate.ledger import Outcome, write_ledger
from pipeline.report.alarms import Judged, judge
from pipeline.report.numbers import compute, joined

LABEL = np.zeros(8, np.int16)


def outcome(attack: str, correct: str, *, first: int = 0, broken_by: str = "") -> Outcome:
    """`correct` is one character an image: 1 correct, 0 wrong, s broken by the black-box attack."""
    n = len(correct)
    prediction = np.array([0 if c == "1" else 1 for c in correct], np.int16)
    by = np.array(["square" if c == "s" else "" for c in correct], dtype=object)
    return Outcome(attack, np.arange(first, first + n, dtype=np.int32), LABEL[:n], prediction, np.zeros(n), by)


def make(tmp_path, ledgers: dict[str, tuple[str, str, int, list[Outcome]]], controls=None, checks=None):
    paths, members = {}, []
    for name, (experiment, method, seed, outcomes) in ledgers.items():
        paths[name] = tmp_path / f"{name}.parquet"
        write_ledger(paths[name], [o.table() for o in outcomes], checks=checks or {})
        member = {"ledger": name, "experiment": experiment, "dataset": "d", "method": method, "seed": seed}
        members.append({**member, "evaluation": "e", "attacks": [o.attack for o in outcomes]})
    spec = {"scale": "demo", "paper": "p", "reproduces": False, "members": members, "controls": controls or {}}
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
    member = {"ledger": "a", "experiment": "m", "dataset": "d", "method": "at", "seed": 0, "attacks": ["pgd20"]}
    spec = {"scale": "s", "paper": "p", "reproduces": False, "members": [member], "controls": {}}
    with pytest.raises(IntegrityError, match="no rows for pgd20"):
        compute(spec, {"a": path})


def alarms(attack: str, found: dict[str, Outcome], control=None, checks=None) -> set[str]:
    judged = {name: Judged(o, [checks or {}], ["a"]) for name, o in found.items()}
    against = {name: Judged(o, [], ["c"]) for name, o in control.items()} if control else None
    return {check["check"] for check in judge(attack, judged, against) if not check["ok"]}


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        ("modules_in_training_mode", 1.0),
        ("pixels_outside", 0.01),
        ("repeat_difference", 1e-6),
        ("batch_difference", 1e-3),
        ("zero_gradients", 0.1),
        ("eps0_changes", 1.0),
        ("probabilities", 1.0),
        ("over_eps", 1e-5),
        ("adversarial_pixels_outside", 0.01),
        ("not_a_number", 1.0),
        ("rescored_differently", 1.0),
    ],
)
def test_each_check_of_the_attack_can_raise_its_alarm(check, bad):
    assert alarms("clean", {"clean": outcome("clean", "1111")}, checks={check: 0.0}) == set()
    assert alarms("clean", {"clean": outcome("clean", "1111")}, checks={check: bad}) == {check}


def test_more_steps_that_help_the_defender_raise_an_alarm():
    few, many = outcome("pgd10", "11000000"), outcome("pgd20", "11110000")
    assert alarms("pgd20", {"pgd10": few, "pgd20": many}) == {"not_weaker_than_pgd10"}
    assert alarms("pgd20", {"pgd10": many, "pgd20": outcome("pgd20", "11000000")}) == set()


def test_attacks_are_compared_on_shared_images_only():
    """AutoAttack on a subset may look better than PGD on all images; that is no alarm."""
    everything, subset = outcome("pgd20", "11110000"), outcome("autoattack", "1111")
    assert alarms("autoattack", {"pgd20": everything, "autoattack": subset}) == set()


def test_a_black_box_attack_that_beats_the_gradients_raises_an_alarm():
    assert alarms("autoattack", {"autoattack": outcome("autoattack", "111ss000")}) == {"black_box_not_stronger"}
    assert alarms("autoattack", {"autoattack": outcome("autoattack", "1111s000")}) == set(), "one image is noise"


def test_an_undefended_control_that_survives_raises_an_alarm():
    defended = {"autoattack": outcome("autoattack", "11110000")}
    assert alarms("autoattack", defended, {"autoattack": outcome("autoattack", "00000000")}) == set()
    assert alarms("autoattack", defended, {"autoattack": outcome("autoattack", "10000000")}) == {"control_falls"}


def test_alarms_reach_the_cell(tmp_path):
    found = make(tmp_path, {"a": ("main", "at", 0, [outcome("clean", "11")])}, checks={"model": {"probabilities": 1.0}})
    assert found["cells"][0]["alarms"] == ["probabilities"]
