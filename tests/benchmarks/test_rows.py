"""Rows of benchmarks: what they say, and that they come back from their file as they were."""

from __future__ import annotations

import getpass
import json
import os
import platform
import socket
import subprocess
import sys

import pytest

from benchmarks.rows import Row, Spread, machine, read_rows, write_rows
from robustft.errors import IntegrityError, RobustftError
from robustft.files import ROOT, read_json, write_json

SPREAD = Spread(2.0, 1.5, 2.5, 5)
ROWS = [
    Row("step", "a", "s", SPREAD, Spread(1.0, 0.9, 1.1, 5), Spread(2.0, 1.9, 2.1, 5), 1.5, "batch 8", 1.43),
    Row("step", "b", "MB", None, SPREAD),
]


def test_a_spread_is_median_and_quartiles():
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0, 5)
    assert Spread.of([7.0]) == Spread(7.0, 7.0, 7.0, 1)
    with pytest.raises(RobustftError, match="no measurements"):
        Spread.of([])


def test_rows_come_back_as_they_were_stored(tmp_path):
    write_rows(tmp_path / "step.json", ROWS, topic="step", quick=True)
    about, rows = read_rows(tmp_path / "step.json")
    assert rows == ROWS
    assert about["schema"] == "robustft-bench-1"
    assert about["topic"] == "step"
    assert about["quick"] is True


@pytest.mark.parametrize(
    ("ratio", "bar", "met"), [(1.5, 1.5, True), (1.49, 1.5, False), (None, 1.5, False), (3.0, None, None)]
)
def test_a_bar_is_held_against_the_median_ratio_and_an_unmeasured_ratio_misses_it(ratio, bar, met):
    spread = None if ratio is None else Spread(ratio, 1.0, 9.0, 3)
    assert Row("g", "n", "s", None, None, spread, bar).met is met


def test_a_stored_file_says_what_it_was_measured_on_and_neither_where_nor_by_whom(tmp_path, monkeypatch):
    system = os.uname()
    named = os.uname_result((system.sysname, "made-up-host", system.release, system.version, system.machine))
    monkeypatch.setattr(os, "uname", lambda: named)
    monkeypatch.setattr(platform, "_uname_cache", None, raising=False)
    for name in ("gethostname", "getfqdn"):
        monkeypatch.setattr(socket, name, lambda *_: "made-up-host")
    monkeypatch.setenv("HOSTNAME", "made-up-host")
    monkeypatch.setattr(getpass, "getuser", lambda: "made-up-user")
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "made-up-user")
    assert platform.node() == "made-up-host"
    write_rows(tmp_path / "x.json", ROWS, topic="x")
    about = read_json(tmp_path / "x.json")
    assert {"hardware", "threads", "versions", "git", "date", "load"} <= set(about)
    assert {"python", "torch"} <= set(about["versions"])
    text = (tmp_path / "x.json").read_text()
    assert str(ROOT) not in text
    assert "made-up" not in text


@pytest.mark.parametrize("content", [{"schema": "robustft-bench-0", "rows": []}, {"rows": []}, {"schema": "x"}])
def test_another_file_is_not_read_as_rows(tmp_path, content):
    write_json(tmp_path / "x.json", content)
    with pytest.raises(IntegrityError):
        read_rows(tmp_path / "x.json")


def test_a_row_of_another_shape_is_refused(tmp_path):
    write_rows(tmp_path / "x.json", ROWS, topic="x")
    content = read_json(tmp_path / "x.json")
    content["rows"][0]["surplus"] = 1
    write_json(tmp_path / "x.json", content)
    with pytest.raises(IntegrityError, match="no file of rows"):
        read_rows(tmp_path / "x.json")


def test_describing_the_machine_does_not_import_torch():
    code = "import json, sys; from benchmarks.rows import machine; machine(); print(json.dumps('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
    assert machine()["threads"] >= 1  # here it is imported
