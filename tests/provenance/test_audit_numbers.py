"""The audit of numbers: tables and numbers are made from the ledgers again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustft.files import sha256_file
from tests.toy_run import edit, findings


def test_an_edited_value_of_a_table_for_machines_is_named(copied):
    path = "results/small/toy/tables/main.csv"
    line = next(one for one in Path(path).read_text().splitlines() if one.startswith("at,clean,"))
    Path(path).write_text(Path(path).read_text().replace(line, line.replace(",share,", ",share,0.99")))
    (finding,) = findings(copied)
    assert "cell toy/main:at/clean (mean) reads '0.99" in finding


@pytest.mark.parametrize("kind", ["md", "tex", "html"])
def test_an_edited_cell_of_a_table_is_named(kind, copied):
    path = f"results/small/toy/tables/main.{kind}"
    numbers = json.loads(Path("results/small/toy/numbers.json").read_text())
    mean = next(c["mean"] for c in numbers["cells"] if (c["method"], c["attack"]) == ("at", "clean"))
    text = Path(path).read_text()
    row = next(line for line in text.splitlines() if f"{100 * mean:.1f}" in line and "AT" in line)
    Path(path).write_text(text.replace(row, row.replace(f"{100 * mean:.1f}", "99.9", 1)))
    (finding,) = findings(copied)
    assert finding.startswith(f"[changed-file] {path}:")
    assert "cell toy/main:at/clean reads '99.9" in finding


@pytest.mark.parametrize(
    ("forged", "code"),
    [
        (lambda text: text.replace('"correct": ', '"correct": 1', 1), "wrong-number"),
        (lambda text: "null\n", ""),
        (lambda text: "[1,\n", ""),
    ],
    ids=["edited", "emptied", "no JSON"],
)
def test_numbers_whose_hashes_a_forger_made_agree_are_counted_again(forged, code, copied):
    numbers, record = (f"results/small/toy/numbers{end}" for end in (".json", ".record.json"))
    before = sha256_file(numbers)
    Path(numbers).write_text(forged(Path(numbers).read_text()))
    edit(record, before, sha256_file(numbers))
    assert any(f"{code}] {numbers}:" in finding for finding in findings(copied))
