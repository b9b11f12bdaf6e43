"""The audit of manifests: each lists every record of the plan, as it is, and only a right one gives a root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from robustft.files import digest_of, read_json, write_json
from robustft.provenance import audit as auditing
from robustft.provenance.record import file_entry
from robustft.provenance.roots import manifest_records, root_over
from tests.toy_run import edit, findings

PATH = "results/small/toy/manifest.json"
DATA = "results/data/digits.record.json"


def forge(**changes: Any) -> None:
    """Change a manifest and make its record fit again."""
    write_json(PATH, {**read_json(PATH), **changes})
    record = "results/small/toy/manifest.record.json"
    values = read_json(record)
    values["outputs"]["manifest"] = file_entry(PATH)
    write_json(record, values)


def test_the_audits_root_is_that_of_the_manifests_records(finished):
    report = auditing.audit(finished)
    assert report.root == root_over(manifest_records(finished))
    assert report.content_root == read_json(PATH)["content_root"]


def test_an_edited_manifest_is_named_and_gives_no_root(copied):
    edit(PATH, '"root": "', '"root": "0')
    (finding,) = findings(copied)
    assert finding.startswith(f"[changed-file] {PATH}:")
    assert auditing.audit(copied).root is None


def test_a_manifest_that_leaves_out_records_is_named_though_all_hashes_fit(copied):
    """It passed: a root over the records of the data alone stood for results that were changed later."""
    records = {DATA: read_json(PATH)["records"][DATA]}
    forge(records=records, root=digest_of(records))
    report = auditing.audit(copied)
    rest = len(copied.step("manifest", "toy").spec["records"]) - 1
    assert [finding.code for finding in report.findings] == ["incomplete-manifest"] * rest
    assert report.root is None


def test_a_record_that_is_not_of_the_plan_is_named(copied):
    records = {**read_json(PATH)["records"], "results/elsewhere.record.json": "0" * 64}
    forge(records=records, root=digest_of(records))
    (finding,) = findings(copied)
    assert "results/elsewhere.record.json, which is no record of toy" in finding


@pytest.mark.parametrize("key", ["root", "content_root"])
def test_a_root_that_is_not_of_the_files_is_named(key, copied):
    forge(**{key: "0" * 64})
    (finding,) = findings(copied)
    assert finding.startswith(f"[wrong-number] {PATH}: the {key.replace('_', ' ')} is not")


@pytest.mark.parametrize("text", ["[]", "{}", "no JSON", '{"records": 1}'])
def test_a_file_that_is_no_manifest_is_a_finding(text, copied):
    Path(PATH).write_text(text)
    forge_record = "results/small/toy/manifest.record.json"
    values = read_json(forge_record)
    values["outputs"]["manifest"] = file_entry(PATH)
    write_json(forge_record, values)
    (finding,) = findings(copied)
    assert PATH in finding


def test_a_record_changed_after_the_manifest_is_named(copied):
    record = copied.step("table", "toy/main").record
    edit(record, '"attempt": 1', '"attempt": 2')
    assert any(finding.startswith(f"[changed-record] {record}:") for finding in findings(copied))
