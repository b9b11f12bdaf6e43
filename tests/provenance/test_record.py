"""Records: what makes a JSON file one, and what is said of a file that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from robustft.errors import IntegrityError
from robustft.files import digest_of, sha256_file, write_json
from robustft.provenance.record import SCHEMA, file_entry, problem_with, read_record

ENTRY = {"path": "a", "sha256": "0", "bytes": 1}


def record() -> dict[str, Any]:
    spec, source = {"scale": "small"}, {"x.py": "1"}
    return {
        "schema": SCHEMA,
        "step": {"kind": "data", "id": "digits", "spec": spec, "spec_sha256": digest_of(spec)},
        "inputs": {},
        "outputs": {"data": dict(ENTRY)},
        "source": {"files": source, "sha256": digest_of(source)},
        "environment": dict.fromkeys(("git", "image", "lock", "packages", "python")),
        "circumstances": dict.fromkeys(("vouchers", "seconds", "attempt", "started", "ended")),
    }


def test_a_record_is_read_with_its_hash_and_its_entries(tmp_path):
    path = tmp_path / "a.record.json"
    write_json(path, record())
    found = read_record(path)
    assert (found.sha256, found.values) == (sha256_file(path), record())
    assert found.output("a") == ENTRY
    assert found.output("b") is None


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda r: r.pop("inputs"), "its parts are"),
        (lambda r: r.update(schema="other"), "its schema is"),
        (lambda r: r["step"]["spec"].update(extra=1), "its specification does not have the hash"),
        (lambda r: r["source"]["files"].update({"x.py": "0"}), "its source files do not have the hash"),
        (lambda r: r.update(outputs=[]), "its part 'outputs'"),
        (lambda r: r["outputs"]["data"].pop("bytes"), "its part 'outputs'"),
        (lambda r: r["environment"].pop("lock"), "its part 'environment'"),
    ],
)
def test_a_record_that_contradicts_itself_is_named(edit, problem, tmp_path):
    values = record()
    assert problem_with(values) is None
    edit(values)
    assert problem in problem_with(values)
    write_json(tmp_path / "a.record.json", values)
    with pytest.raises(IntegrityError, match=problem):
        read_record(tmp_path / "a.record.json")


def test_json_that_is_no_object_is_no_record():
    assert problem_with(json.loads("[]")) == "it is not a JSON object"


def test_a_missing_record_and_a_missing_file_are_named(tmp_path):
    for read in (read_record, file_entry):
        with pytest.raises(IntegrityError, match="is missing") as error:
            read(Path(tmp_path / "gone"))
        assert str(tmp_path / "gone") in str(error.value)
