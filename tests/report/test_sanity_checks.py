"""Each check can fail, and fails at its limit and not before."""

from dataclasses import replace

import numpy as np
import pytest

from robustft.evaluate.ledger import Outcome
from robustft.report.sanity_checks import Expected, Judged, judge
from tests.report.outcomes import PASSED, outcome


def failed(attack: str, found: dict[str, Outcome], control=None, checks=None, **expected) -> set[str]:
    judged = {name: Judged(o, [PASSED | (checks or {})], ["a"]) for name, o in found.items()}
    against = {name: Judged(o, [], ["c"]) for name, o in control.items()} if control else None
    found = judge(attack, judged, against, Expected.of(expected))
    return {check["check"] for check in found if not check["ok"]}


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
    assert failed("clean", {"clean": outcome("clean", "1111")}, checks={check: 0.0}) == set()
    assert failed("clean", {"clean": outcome("clean", "1111")}, checks={check: bad}) == {check}


def test_more_steps_that_help_the_defender_raise_an_alarm():
    # Eight images differ, all on the same side: 1/256.
    few, many = outcome("pgd10", "0" * 8 + "1" * 8), outcome("pgd20", "1" * 16)
    expected = {"not_weaker_than": ["pgd10"]}
    assert failed("pgd20", {"pgd10": few, "pgd20": many}, **expected) == {"not_weaker_than_pgd10"}
    assert failed("pgd20", {"pgd10": many, "pgd20": outcome("pgd20", "0" * 8 + "1" * 8)}, **expected) == set()
    assert failed("pgd20", {"pgd10": few, "pgd20": many}) == set(), "what is compared is the configuration's to say"
    assert failed("pgd10", {"pgd10": many, "pgd20": few}) == set()


@pytest.mark.parametrize(
    ("only_ours", "only_theirs", "alarm"),
    [(6, 0, False), (7, 0, True), (8, 1, False), (9, 1, False), (10, 1, True), (12, 2, True), (30, 30, False)],
)
def test_the_limit_for_a_stronger_attack_is_mcnemars_at_one_percent(only_ours, only_theirs, alarm):
    """One percent of the images were allowed before: up to 19 % false alarms if 5 % of 64 images differ by chance."""
    # P(7 of 7) = 1/128 = .0078; P(6 of 6) = .0156. P(10 or 11 of 11) = 12/2048 = .0059; P(9 or 10 of 10) = .0107.
    # P(8 or 9 of 9) = 10/512 = .0195; P(12 or more of 14) = 106/16384 = .0065.
    weak = outcome("pgd10", "0" * only_ours + "1" * only_theirs + "1" * 20)
    strong = outcome("pgd20", "1" * only_ours + "0" * only_theirs + "1" * 20)
    expected = {"not_weaker_than_pgd10"} if alarm else set()
    assert failed("pgd20", {"pgd10": weak, "pgd20": strong}, not_weaker_than=["pgd10"]) == expected


def test_an_attack_is_compared_with_every_weaker_one_that_was_run():
    correct = (("a", "1" * 8 + "0" * 16), ("b", "1" * 24), ("c", "1" * 16 + "0" * 8))
    found = {name: outcome(name, kept) for name, kept in correct}
    expected = {"not_weaker_than": ["a", "b", "absent"]}
    assert failed("c", found, **expected) == {"not_weaker_than_a"}


def test_attacks_are_compared_on_shared_images_only():
    """AutoAttack on a subset may look better than PGD on all images; that is no alarm."""
    everything, subset = outcome("pgd20", "11110000"), outcome("autoattack", "1111")
    assert failed("autoattack", {"pgd20": everything, "autoattack": subset}, not_weaker_than=["pgd20"]) == set()


def test_an_attack_on_a_part_of_the_model_that_leaves_far_more_correct_raises_an_alarm():
    # A tenth of 100 images is 10. P(17 or fewer) = .990; P(18 or more) = .010, just above one percent; so 19 alarm.
    whole = outcome("adaptive", "1" * 30 + "0" * 70)
    for kept, expected in ((49, {"overstates_robustness"}), (48, set()), (20, set())):
        part = outcome("traditional", "1" * kept + "0" * (100 - kept))
        assert failed("traditional", {"traditional": part, "adaptive": whole}, gap_to="adaptive") == expected
    assert failed("traditional", {"traditional": outcome("traditional", "1" * 100)}, gap_to="adaptive") == set()


def test_a_black_box_attack_that_beats_the_gradients_raises_an_alarm():
    # 1 of 8 at a share of .002: P = 1 - .998^8 = .0159; 2 of 8: .0001.
    assert failed("autoattack", {"autoattack": outcome("autoattack", "111ss000")}) == {"black_box_not_stronger"}
    assert failed("autoattack", {"autoattack": outcome("autoattack", "1111s000")}) == set(), "one image is noise"


def test_an_undefended_control_that_survives_raises_an_alarm():
    defended = {"autoattack": outcome("autoattack", "1" * 64)}
    # 64 images of 64 classes, of which 5 % may stay correct: P(8 or more) = .014, P(9 or more) = .004.
    labels, wrong = np.arange(64, dtype=np.int16), np.arange(64, dtype=np.int16) + 1

    def control(kept: int) -> dict[str, Outcome]:
        prediction = np.where(np.arange(64) < kept, labels, wrong)
        return {"autoattack": replace(outcome("autoattack", "1" * 64), label=labels, prediction=prediction)}

    assert failed("autoattack", defended, control(8), control_below=0.05) == set()
    assert failed("autoattack", defended, control(9), control_below=0.05) == {"control_falls"}
    assert failed("autoattack", defended, control(64)) == set()  # one step need not break it
    # These labels are of one class: guessing keeps all of them, half of which is far more than 5 %.
    one_class = {"autoattack": outcome("autoattack", "1" * 30 + "0" * 34)}
    assert failed("autoattack", defended, one_class, control_below=0.05) == set()
