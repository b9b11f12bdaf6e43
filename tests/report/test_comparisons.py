"""From outcomes to a difference with its errors, by hand."""

import numpy as np
import pytest

from tests.report.measured import kept, ordering

T2, T4, Z = 4.302653, 2.776445, 1.959964
"""Two-sided 5 % quantiles: Student's with 2 and 4 degrees of freedom, the normal one."""


def test_an_ordering_by_hand(world):
    # Seeds .60 .62 .64 and .55 .56 .57 on 100 images; the right side begins at image 40.
    for seed, (left, right) in enumerate(((60, 55), (62, 56), (64, 57))):
        world.add("left", seed, {"aa": kept(left, 100)})
        world.add("right", seed, {"aa": [0] * 40 + kept(right, 60)})
    found = world.judge().judge(ordering("left", "right"))
    left = np.array([1.0] * 60 + [2 / 3] * 2 + [1 / 3] * 2 + [0.0] * 36)
    right = np.array([0.0] * 40 + [1.0] * 55 + [2 / 3, 1 / 3] + [0.0] * 3)
    d = left - right
    squared = ((d**2).sum() + 2) / 102 - (d.sum() / 102) ** 2
    half = ((T4 * (0.0005 / 3) ** 0.5) ** 2 + (Z * (squared / 102) ** 0.5) ** 2) ** 0.5
    assert found["estimate"] == pytest.approx(0.06)
    assert found["high"] - found["estimate"] == pytest.approx(half, rel=1e-6)
    assert found["verdict"] == "inconclusive"


def test_sides_that_share_runs_are_paired_by_seed(world):
    """Two attacks on one model, or an ensemble and its member, rise and fall together from seed to seed."""
    for seed, (strong, weak) in enumerate(((80, 70), (60, 50), (40, 30))):
        world.add("one", seed, {"pgd": kept(strong, 100), "aa": kept(weak, 100)})
    found = world.judge().judge(ordering("one", "one", left_metric="pgd"))
    # Every seed loses exactly ten images: no error of seeds. Ten images lie between the attacks in each seed.
    by_image = np.array([0.0] * 30 + [1 / 3] * 10 + [0.0] * 10 + [1 / 3] * 10 + [0.0] * 10 + [1 / 3] * 10 + [0.0] * 20)
    squared = ((by_image**2).sum() + 2) / 102 - (by_image.sum() / 102) ** 2
    assert found["high"] - found["estimate"] == pytest.approx(Z * (squared / 102) ** 0.5, rel=1e-6)
    assert found["verdict"] == "holds"


def test_sides_of_their_own_runs_are_not_paired_by_the_number_of_their_seeds(world):
    for seed, (strong, weak) in enumerate(((80, 70), (60, 50), (40, 30))):
        world.add("one", seed, {"aa": kept(strong, 100)})
        world.add("two", seed, {"aa": kept(weak, 100)})
    assert world.judge().judge(ordering("one", "two"))["verdict"] == "inconclusive"
    for seed in range(3):  # an ensemble whose members are the other side's runs
        world.run("one", seed, models=[f"main/d/two/{seed}", "another"])
    assert world.judge().judge(ordering("one", "two"))["verdict"] == "holds"


def test_without_a_common_image_nothing_is_compared(world):
    for seed in range(3):
        world.add("one", seed, {"aa": kept(9, 10)})
        world.add("two", seed, {"aa": kept(1, 10)}, first=10)
    assert world.judge().judge(ordering("one", "two"))["verdict"] == "not run"


def test_sides_on_unequal_subsets_are_compared_on_the_images_that_both_have(world):
    for seed in range(3):
        world.add("one", seed, {"aa": kept(100, 200)})
        world.add("two", seed, {"aa": kept(50, 100)})
    assert world.judge().judge(ordering("one", "two"))["estimate"] == pytest.approx(0.5)


def test_the_pretrained_model_itself_has_no_seeds_and_takes_no_freedom_from_the_other_side(world):
    for seed, correct in enumerate((60, 62, 64)):
        world.add("tuned", seed, {"aa": kept(correct, 100)})
        world.add("initial", seed, {"aa": kept(40, 100)})
    found = world.judge().judge(ordering("tuned", "initial"))
    # sd .02 with two degrees of freedom; images 40 to 59 differ by 1, two by 2/3, two by 1/3; two are added.
    d = np.array([1.0] * 20 + [2 / 3] * 2 + [1 / 3] * 2)
    images = Z * ((((d**2).sum() + 2) / 102 - (d.sum() / 102) ** 2) / 102) ** 0.5
    half = ((T2 * 0.02 / 3**0.5) ** 2 + images**2) ** 0.5
    assert found["high"] - found["estimate"] == pytest.approx(half, rel=1e-6)
