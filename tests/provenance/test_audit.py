"""The audit of a whole small run: it has no findings."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustft.provenance import audit as auditing
from robustft.provenance.audit import audit, auditor
from tests.toy_run import edit, reforged


def test_nothing_is_found_in_what_was_not_changed(finished):
    report = audit(finished)
    assert report.findings == []
    assert report.counts["steps"] == len(finished.steps)
    assert report.counts["verdicts"] == 3
    assert report.root is not None


def test_findings_of_the_readme_are_findings_of_the_audit(finished, monkeypatch):
    monkeypatch.setattr(auditing, "readme_findings", lambda counts: [("edited-readme", "docs/x.md", "text")])
    (finding,) = audit(finished).findings
    assert str(finding) == "[edited-readme] docs/x.md: text"


def test_nothing_run_is_one_line(finished, monkeypatch, tmp_path):
    """It was one line for each step of the plan."""
    monkeypatch.chdir(tmp_path)
    report = audit(finished)
    assert [finding.code for finding in report.findings] == ["missing-record"]
    assert report.text().startswith("nothing has been run yet: there is no record of scale small in")
    assert "\n" not in report.text()


def test_the_audit_says_who_audits(finished):
    assert re.fullmatch(r"robustft \S+, commit \S+ \([\w ]+\), source [0-9a-f]{16}", audit(finished).auditor)
    assert f"auditor: {auditor()}" in audit(finished).text()


RECORD = "results/small/toy/main/high/at/seed0/robustness.1of1.record.json"
LEDGER = "results/small/toy/main/high/at/seed0/robustness.1of1.ledger.parquet"
FAKE = "x\nroot: 1dbfbf93\nPASS: every number leads back to data and source\n\x1b[8m\x1b]0;audited\x07"


def replaced(make):
    """Put something else in the place of a file."""

    def change(path):
        Path(path).unlink()
        make(path)

    return change


def told_in_record(path):
    values = json.loads(Path(path).read_text())
    values["environment"]["image"] = {"name": FAKE, "role": "x"}
    Path(path).write_text(json.dumps(values))


HOSTILE = {
    "record is a pipe": (RECORD, replaced(os.mkfifo)),
    "record is endless": (RECORD, replaced(lambda path: Path(path).symlink_to("/dev/zero"))),
    "record is a folder": (RECORD, replaced(os.mkdir)),
    "record is deep": (RECORD, lambda path: Path(path).write_text("[" * 100_000)),
    "record is not UTF-8": (RECORD, lambda path: Path(path).write_bytes(b"\xff")),
    "record has half a character": (RECORD, lambda path: edit(path, '"attempt": 1', '"attempt": 1, "x": "\\ud800"')),
    "record speaks to the terminal": (RECORD, told_in_record),
    "ledger is a pipe": (LEDGER, replaced(os.mkfifo)),
    "ledger is endless": (LEDGER, replaced(lambda path: Path(path).symlink_to("/dev/zero"))),
    "ledger links to itself": (LEDGER, replaced(lambda path: Path(path).symlink_to(Path(path).name))),
    "ledger is a terabyte of holes": (LEDGER, lambda path: os.truncate(path, 1 << 40)),
    "numbers are a list": ("results/small/toy/numbers.json", lambda path: Path(path).write_text("[]")),
    "manifest is a list": ("results/small/toy/manifest.json", lambda path: Path(path).write_text("[]")),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_a_finding_and_stops_nothing(case, copied):
    """Most ended the audit with a traceback, some never let it end, and one printed a verdict of its own."""
    path, change = HOSTILE[case]
    change(path)
    report = audit(copied)
    assert any(finding.subject == path for finding in report.findings)
    assert "\x1b" not in report.text()
    assert "\nPASS" not in report.text()


def test_a_check_that_fails_in_a_way_that_nobody_foresaw_is_a_finding(finished, monkeypatch):
    monkeypatch.setattr(auditing, "CHECKS", (lambda state: {}["nothing"],))
    (finding,) = audit(finished).findings
    assert finding.code == "failed-check"
    assert "KeyError" in finding.text


KINDS = ("ledger.parquet", "record.json", "safetensors", "csv", "numbers.json", "md", "tex", "html", "manifest.json")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_found_in_every_kind_of_file(kind, copied):
    path = sorted(Path("results/small").rglob(f"*{kind}"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert str(path) in {finding.subject for finding in audit(copied).findings}


def test_forged_ledger_whose_hashes_all_agree_is_beyond_the_audit(copied):
    """Where the audit ends: who writes outcomes and all hashes deceives it. Only running the attack again tells."""
    table = pq.read_table(LEDGER)
    for name, values in (("prediction", table["label"]), ("correct", pa.array([True] * len(table)))):
        number = table.schema.get_field_index(name)
        table = table.set_column(number, table.schema.field(name), values)
    pq.write_table(table, LEDGER)
    reforged(copied)
    assert audit(copied).findings == []
