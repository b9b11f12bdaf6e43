"""The draw: repeatable, most of it where claims rest, and what it shows is worked out by hand."""

from __future__ import annotations

import hashlib
import math
from itertools import combinations

import pytest

from robustft.recheck.draw import Stratum, draw, missed, ranked, seed_of, shares, would_show


def test_the_order_is_that_of_the_hashes_of_seed_and_name():
    keys = ["attack:a", "attack:b", "attack:c"]
    by_hand = sorted(keys, key=lambda key: hashlib.sha256(f"7:{key}".encode()).hexdigest())
    assert ranked(keys, "7") == ranked(reversed(keys), "7") == by_hand
    assert len({tuple(ranked(keys, str(seed))) for seed in range(50)}) == 6, "every order comes"


def test_a_nonce_gives_another_draw_for_another_root():
    assert seed_of("n", "r") == hashlib.sha256(b"r:n").hexdigest() != seed_of("n", "s")


def test_most_are_drawn_where_claims_rest_and_each_once():
    population, claims = [f"attack:{n}" for n in range(100)], {f"attack:{n}" for n in range(40)}
    drawn = draw(population, claims, count=8, seed="1")
    assert len(set(drawn.keys)) == 8
    assert [key in claims for key in drawn.keys] == [True] * 5 + [False] * 3
    assert drawn.strata == [Stratum(40, 5), Stratum(60, 3)]
    more = draw(population, claims, count=16, seed="1")
    assert set(drawn.keys) < set(more.keys), "a larger draw holds the smaller one"


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((20, 300, 352), (12, 8)),
        ((20, 0, 652), (0, 20)),
        ((20, 652, 0), (20, 0)),
        ((9, 3, 2), (3, 2)),
        ((1, 5, 5), (1, 0)),
    ],
)
def test_the_shares_of_the_strata_at_their_ends(sizes, expected):
    assert shares(*sizes) == expected


def test_the_probability_of_missing_all_false_ones_is_counted_by_hand():
    samples = list(combinations(range(7), 3))
    clean = [sample for sample in samples if not {0, 1} & set(sample)]
    assert missed(Stratum(7, 3), 2) == pytest.approx(len(clean) / len(samples)) == pytest.approx(10 / 35)
    assert missed(Stratum(7, 3), 0) == pytest.approx(1)
    assert missed(Stratum(7, 3), 5) == 0


def test_the_bound_of_one_stratum_is_that_of_the_hypergeometric_distribution():
    # Of 10, 5 are drawn: C(10 - f, 5) / 252 is 0.5, 0.222, 0.083, 0.024 for f = 1, 2, 3, 4.
    assert would_show([Stratum(10, 5)]) == 4
    assert would_show([Stratum(10, 5)], confidence=0.9) == 3
    assert would_show([Stratum(10, 10)]) == 1
    exact = next(false for false in range(1, 653) if math.comb(652 - false, 20) <= 0.05 * math.comb(652, 20))
    assert would_show([Stratum(652, 20)]) == exact == 90, "13.8 %; with replacement 1 - 0.05^(1/20) = 13.9 %"


def test_the_bound_over_two_strata_is_that_of_the_worst_spread():
    strata = [Stratum(6, 4), Stratum(8, 2)]

    def enumerated(false: int) -> float:
        return max(missed(strata[0], one) * missed(strata[1], false - one) for one in range(false + 1)
                   if one <= 6 and false - one <= 8)  # fmt: skip

    expected = next(false for false in range(1, 15) if enumerated(false) <= 0.05)
    assert would_show(strata) == expected
    assert would_show(strata) > would_show([strata[0]])


def test_false_ones_may_all_be_where_nothing_was_drawn():
    assert would_show([Stratum(5, 5), Stratum(10, 0)]) == 11
    assert would_show([Stratum(10, 0)]) is None
    assert would_show([Stratum(0, 0)]) is None
