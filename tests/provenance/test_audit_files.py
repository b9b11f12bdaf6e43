"""The audit of records and files: it names what was changed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy_run import edit, findings

RUN = "results/small/toy/main/high/at/seed0"


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
