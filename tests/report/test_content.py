"""The content of a scale: its numbers alone."""

from __future__ import annotations

from robustft.report.content import content, content_root

ONE = {"id": "a", "correct": 3, "ledgers": [{"step": "x", "sha256": "0"}]}
TWO = {"id": "b", "correct": 4, "ledgers": []}


def numbers(*measurements, trainings=(), cells=()):
    return {"measurements": list(measurements), "trainings": list(trainings), "cells": list(cells)}


def test_orders_and_hashes_of_ledgers_are_no_content():
    other = {**ONE, "ledgers": [{"step": "x", "sha256": "1"}]}
    assert content(numbers(ONE, TWO)) == content(numbers(TWO, other))
    assert content_root({"toy": numbers(ONE, TWO)}) == content_root({"toy": numbers(TWO, other)})


def test_the_content_root_changes_with_any_number_and_with_the_paper():
    roots = {
        content_root({"toy": numbers(ONE)}),
        content_root({"car": numbers(ONE)}),
        content_root({"toy": numbers({**ONE, "correct": 4})}),
        content_root({"toy": numbers(ONE, TWO)}),
        content_root({"toy": numbers(ONE, trainings=[{"metric": "epochs", "value": 3}])}),
        content_root({"toy": numbers(ONE, cells=[{"mean": 0.5}])}),
    }
    assert len(roots) == 6
