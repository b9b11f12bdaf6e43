"""The root of a manifest stands for the bytes of every record in it."""

from hashlib import sha256
from pathlib import Path

from robustft.files import digest_of, read_json, write_json
from robustft.provenance.manifest import manifest
from robustft.report.content import content_root
from robustft.runtime.context import Context

NUMBERS = {"measurements": [{"id": "one", "correct": 3, "ledgers": []}], "trainings": [], "cells": []}


def root_of(folder: Path, **records: str) -> str:
    """Make a manifest of records with these contents, and return its root."""
    for name, text in records.items():
        (folder / name).write_text(text)
    lines: list[str] = []
    paths = sorted(str(folder / name) for name in records)
    write_json(folder / "numbers.json", NUMBERS)
    inputs = {"numbers:toy": folder / "numbers.json"}
    spec = {"scale": "small", "paper": "toy", "records": paths}
    manifest(spec, Context(inputs, {"manifest": folder / "m.json"}, folder, log=lines.append))
    made = read_json(folder / "m.json")
    hashes = {str(folder / name): sha256(text.encode()).hexdigest() for name, text in records.items()}
    content, about = content_root({"toy": NUMBERS}), {"scale": "small", "paper": "toy"}
    assert made == {**about, "records": hashes, "root": digest_of(hashes), "content_root": content}
    assert lines == [f"{len(records)} records, root {made['root']}, content root {content}"]
    return made["root"]


def test_the_root_of_a_manifest_changes_with_any_record_and_with_nothing_else(tmp_path):
    root = root_of(tmp_path, a="1", b="2")
    assert root_of(tmp_path, b="2", a="1") == root
    assert len({root, root_of(tmp_path, a="1", b="3"), root_of(tmp_path, a="1")}) == 3
