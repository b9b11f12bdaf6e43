"""Each check can fail, and fails at its limit and not before."""

from dataclasses import replace

import numpy as np
import pytest

from robustft.evaluate.ledger import Outcome
from robustft.report.sanity_checks import Expected, Judged, judge
from tests.report.outcomes import outcome


def failed(attack: str, found: dict[str, Outcome], control=None, checks=None, **expected) -> set[str]:
    judged = {name: Judged(o, [checks or {}], ["a"]) for name, o in found.items()}
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
    few, many = outcome("pgd10", "11000000"), outcome("pgd20", "11110000")
    expected = {"not_weaker_than": ["pgd10"]}
    assert failed("pgd20", {"pgd10": few, "pgd20": many}, **expected) == {"not_weaker_than_pgd10"}
    assert failed("pgd20", {"pgd10": many, "pgd20": outcome("pgd20", "11000000")}, **expected) == set()
    assert failed("pgd20", {"pgd10": few, "pgd20": many}) == set(), "what is compared is the configuration's to say"
    assert failed("pgd10", {"pgd10": many, "pgd20": few}) == set()


def test_an_attack_is_compared_with_every_weaker_one_that_was_run():
    found = {
        name: outcome(name, correct) for name, correct in (("a", "11000000"), ("b", "11111111"), ("c", "11110000"))
    }
    expected = {"not_weaker_than": ["a", "b", "absent"]}
    assert failed("c", found, **expected) == {"not_weaker_than_a"}


def test_attacks_are_compared_on_shared_images_only():
    """AutoAttack on a subset may look better than PGD on all images; that is no alarm."""
    everything, subset = outcome("pgd20", "11110000"), outcome("autoattack", "1111")
    assert failed("autoattack", {"pgd20": everything, "autoattack": subset}, not_weaker_than=["pgd20"]) == set()


def test_an_attack_on_a_part_of_the_model_that_leaves_far_more_correct_raises_an_alarm():
    # Of 100 images 11 more than the attack on the whole model leaves is beyond the limit of ten points, 10 is not.
    whole = outcome("adaptive", "1" * 30 + "0" * 70)
    for kept, expected in ((41, {"overstates_robustness"}), (40, set()), (20, set())):
        part = outcome("traditional", "1" * kept + "0" * (100 - kept))
        assert failed("traditional", {"traditional": part, "adaptive": whole}, gap_to="adaptive") == expected
    assert failed("traditional", {"traditional": outcome("traditional", "1" * 100)}, gap_to="adaptive") == set()


def test_a_black_box_attack_that_beats_the_gradients_raises_an_alarm():
    assert failed("autoattack", {"autoattack": outcome("autoattack", "111ss000")}) == {"black_box_not_stronger"}
    assert failed("autoattack", {"autoattack": outcome("autoattack", "1111s000")}) == set(), "one image is noise"


def test_an_undefended_control_that_survives_raises_an_alarm():
    defended = {"autoattack": outcome("autoattack", "11110000")}
    fallen, kept = ({"autoattack": outcome("autoattack", correct)} for correct in ("00000000", "10000000"))
    assert failed("autoattack", defended, fallen, control_below=0.05) == set()
    # These labels are of one class: guessing keeps all of them, half of which is more than 1 of 8.
    assert failed("autoattack", defended, kept, control_below=0.05) == set()
    tenths = {
        "autoattack": replace(kept["autoattack"], label=np.arange(8, dtype=np.int16), prediction=np.arange(8) * 0)
    }
    # Eight classes: half of guessing is 1/16, and 1 of 8 is above it.
    assert failed("autoattack", defended, tenths, control_below=0.05) == {"control_falls"}
    assert failed("autoattack", defended, tenths, control_below=0.125) == set()  # 1 of 8 is not above it
    assert failed("autoattack", defended, tenths) == set()  # one step need not break it
