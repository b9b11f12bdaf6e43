"""A model trained again elsewhere is judged by its accuracy, within seeds and images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.recheck.accuracy import UNJUDGED, WITHIN, allowed, compare_accuracies, spreads
from robustft.recheck.outcomes import DIFFERS, FALSE_ALARM
from robustft.report.numbers import CELL
from robustft.report.statistics import two_sided_t, two_sided_z

N = 400


def ledger(path, correct: int):
    prediction = np.ones(N, np.int16)
    prediction[correct:] = 0
    ones = np.ones(N, np.int16)
    none = np.array([""] * N, object)
    write_ledger(path, [Outcome("fgsm", np.arange(N, dtype=np.int32), ones, prediction, ones, none).table()], checks={})
    return path


def test_the_allowed_difference_is_that_of_the_formula():
    t, z = two_sided_t(2, FALSE_ALARM / 4), two_sided_z(FALSE_ALARM / 4)
    by_hand = math.sqrt((t * 0.01 * math.sqrt(2)) ** 2 + z**2 * 2 * 0.3 * 0.7 / N)
    assert allowed(0.3, N, sd=0.01, seeds=3, groups=4) == pytest.approx(by_hand)


def test_an_accuracy_beyond_seeds_and_images_differs(tmp_path):
    spread = {"fgsm": (0.005, 5)}
    may = allowed(0.5, N, sd=0.005, seeds=5, groups=1)
    inside, outside = (ledger(tmp_path / str(n), 200 + n) for n in (math.floor(may * N), math.ceil(may * N) + 1))
    recorded = ledger(tmp_path / "recorded", 200)
    assert compare_accuracies(recorded, inside, spread, groups=1).status == WITHIN
    found = compare_accuracies(recorded, outside, spread, groups=1)
    assert found.status == DIFFERS
    assert "fgsm: 50.0 % recorded" in found.differences[0]


def test_of_one_seed_nothing_is_said(tmp_path):
    paths = ledger(tmp_path / "a", 200), ledger(tmp_path / "b", 0)
    assert compare_accuracies(*paths, {"fgsm": (0.0, 1)}, groups=1).status == UNJUDGED


def test_the_spread_is_that_of_the_cell_of_the_ledger():
    def one(seed, accuracy, method="at"):
        cell = {**dict.fromkeys(CELL, "x"), "method": method, "attack": "fgsm"}
        return {**cell, "accuracy": accuracy, "ledgers": [{"step": f"{method}/{seed}"}]}

    numbers = {"measurements": [one(0, 0.4), one(1, 0.6), one(0, 0.9, "other")]}
    assert spreads(numbers, "at/1") == {"fgsm": (pytest.approx(math.sqrt(0.02)), 2)}
