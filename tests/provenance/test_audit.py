"""The audit of a whole small run: it finds nothing in it, and names what was changed and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustft.files import digest_of, sha256_file
from robustft.plan import Plan
from robustft.provenance.audit import audit
from robustft.provenance.audit_state import differences

RUN = "results/small/toy/main/high/at/seed0"


def edit(path: str, old: str, new: str) -> None:
    text = Path(path).read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    Path(path).write_text(text.replace(old, new, 1), encoding="utf-8")


def findings(plan: Plan) -> list[str]:
    return [str(finding) for finding in audit(plan).findings]


def test_differences_name_the_path_and_both_values():
    recorded, now = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1.5}, "d": [1], "e": 0}
    assert differences(recorded, now) == ["a.b: recorded 1, now 1.5", "a.c: is gone", "e: is new"]


def test_nothing_is_found_in_what_was_not_changed(finished):
    report = audit(finished)
    assert report.findings == []
    assert report.counts["steps"] == len(finished.steps)
    assert report.counts["verdicts"] == 3
    assert report.root is not None


@pytest.mark.parametrize("position", [10, 400, -10])
def test_a_changed_byte_of_a_ledger_is_named(position, copied):
    path = Path(f"{RUN}/robustness.1of1.ledger.parquet")
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    (finding,) = findings(copied)
    assert finding.startswith(f"[changed-file] {path}: recorded SHA-256")


@pytest.mark.parametrize(
    ("name", "code"), [("checkpoint.record.json", "missing-record"), ("robustness.1of1.ledger.parquet", "missing-file")]
)
def test_a_missing_file_is_named(name, code, copied):
    Path(f"{RUN}/{name}").unlink()
    (finding,) = findings(copied)
    assert finding.startswith(f"[{code}] {RUN}/{name}:")


def test_files_that_were_exchanged_are_named_with_their_owners(copied):
    ours, theirs = (Path(f"{RUN[:-1]}{seed}/checkpoint.safetensors") for seed in (0, 1))
    content = ours.read_bytes()
    ours.write_bytes(theirs.read_bytes())
    theirs.write_bytes(content)
    first, second = sorted(findings(copied))
    assert first.endswith(f"it is the file recorded as {theirs}")
    assert second.endswith(f"it is the file recorded as {ours}")


@pytest.mark.parametrize("kind", ["md", "csv", "tex", "html"])
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


def test_an_edited_record_is_named_by_the_records_that_quote_it(copied):
    path = f"{RUN}/checkpoint.record.json"
    edit(path, '"attempt": 1', '"attempt": 2')
    (finding,) = findings(copied)
    assert finding.startswith(f"[changed-record] {path}:")


def test_an_edited_specification_in_a_record_is_named(copied):
    path = f"{RUN}/checkpoint.record.json"
    edit(path, '"epochs": ', '"epochs": 1')
    (finding,) = findings(copied)
    assert finding.startswith(f"[invalid-record] {path}:")
    assert "specification does not have the hash" in finding


def test_numbers_whose_hashes_a_forger_made_agree_are_counted_again(copied):
    numbers, record = (f"results/small/toy/numbers{end}" for end in (".json", ".record.json"))
    before = sha256_file(numbers)
    edit(numbers, '"correct": ', '"correct": 1')
    edit(record, before, sha256_file(numbers))
    assert any(finding.startswith(f"[wrong-number] {numbers}:") for finding in findings(copied))


def test_another_source_of_a_value_is_a_note_and_no_finding(copied):
    """A better citation of the same value must not make old results void."""
    path = Path("results/small/toy/tables/main.record.json")  # the last record, which no other one quotes
    record = json.loads(path.read_text())
    record["step"]["origins"] = {"recipe.lr": ["config/papers/toy.yaml", "released", "train.sh"]}
    path.write_text(json.dumps(record))
    report = audit(copied)
    assert [finding.code for finding in report.findings] == ["changed-record"]  # the edit of the record itself
    assert "origin of recipe.lr: is gone (in table:toy/main)" in report.notes
    assert digest_of(record["step"]["spec"]) == record["step"]["spec_sha256"]
