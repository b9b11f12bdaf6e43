"""What a recheck showed, in sentences."""

from __future__ import annotations

import copy

import pytest

from robustft.provenance.rechecked import in_short, learned, mismatches


def part(*statuses, population=652, claimed=300, drawn=(15, 5), shown=(140, 54)):
    return {
        "claimed": {"population": claimed, "drawn": drawn[0]},
        "others": {"population": population - claimed, "drawn": drawn[1]},
        "would_show": {"all": shown[0], "claimed": shown[1]},
        "checked": [{"step": f"attack:{n}", "status": status} for n, status in enumerate(statuses)],
    }


AGREES = {
    "seed": "7",
    "rule": {"confidence": 0.95},
    "sources": {"checked": []},
    "ledgers": part(*["identical"] * 18, "rounding", "rounding"),
    "trainings": part(drawn=(0, 0), population=10, claimed=4, shown=(None, None)),
}


def test_a_sample_that_agrees_says_what_it_would_have_shown():
    counts, claimed, every = learned(AGREES)
    assert counts.startswith("20 of 652 ledgers were run again, 15 of them among the 300 that a paper's claim rests on")
    assert counts.endswith(": 18 identical, 2 rounding.")
    shown = "were false, this would have shown with 95 % probability."
    assert claimed == f"If 54 or more of the ledgers that a claim rests on (18 %) {shown}"
    assert every == f"If 140 or more of all ledgers (21 %) {shown}"
    assert in_short(AGREES) == "20 of 652 ledgers, drawn by the seed 7: all agree"
    assert mismatches(AGREES) == []


def test_a_difference_is_named_and_no_bound_is_claimed():
    false = copy.deepcopy(AGREES)
    false["ledgers"]["checked"][3]["status"] = "differs"
    lines = learned(false)
    assert len(lines) == 2
    assert lines[1] == "1 differ from what was recorded: attack:3."
    assert in_short(false).endswith(": 1 differs")


def test_a_predicate_of_another_shape_is_an_error_that_callers_know():
    for predicate in ({}, {"ledgers": 1, "trainings": {}}, {**AGREES, "ledgers": {"claimed": {"drawn": "x"}}}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            in_short(predicate)
