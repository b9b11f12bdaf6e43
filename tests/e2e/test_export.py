"""`robustft export` on a finished run, as a user calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.files import read_json, sha256_file


def exported(folder: Path, tools, *arguments: str) -> subprocess.CompletedProcess[str]:
    made = tools["robustft"](folder, "export", *arguments, "--scale", "smoke")
    assert made.returncode == 0, made.stderr
    return made


def audit_of(crate: Path) -> subprocess.CompletedProcess[str]:
    """Audit a crate with the source that is in it."""
    environment = {**os.environ, "PYTHONPATH": str(crate), "PYTHONDONTWRITEBYTECODE": "1"}
    command = next(line for line in (crate / "README.md").read_text().splitlines() if "pipeline audit" in line)
    arguments = command.split("python ")[1].split(" (")[0].split()
    return subprocess.run(
        [sys.executable, *arguments], cwd=crate, env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_crate_with_everything_in_it_is_audited_where_it_lies_and_an_edit_is_found(finished, tools, tmp_path):
    crate = tmp_path / "a crate" / "é"
    made = exported(finished, tools, "crate", "--all", "--to", str(crate))
    assert made.stdout.strip() == str(crate)
    audited = audit_of(crate)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    root = read_json(finished / "results" / "smoke" / "seal.json")["root"]
    assert f"root: {root}" in audited.stdout
    table = crate / "results" / "smoke" / "twins" / "tables" / "main.csv"
    table.write_text(table.read_text().replace("TWINS-AT,", "TWINS-AT,9", 1))
    audited = audit_of(crate)
    assert audited.returncode == 1
    assert "changed-file" in audited.stdout


@pytest.mark.parametrize("form", ["robustbench", "cards", "page"])
def test_each_form_is_written_and_says_what_it_is_of(form, finished, tools, tmp_path):
    target = tmp_path / ("page.html" if form == "page" else form)
    made = exported(finished, tools, form, "--to", str(target))
    assert made.stdout.strip() == str(target)
    root = read_json(finished / "results" / "smoke" / "seal.json")["root"]
    texts = [target] if target.is_file() else list(target.rglob("*.*"))
    assert any(root in path.read_text(encoding="utf-8") for path in texts if path.is_file())


def test_exports_go_beside_results_and_disturb_neither_audit_nor_snakemake(copy_of_finished, tools):
    results = {path: sha256_file(path) for path in (copy_of_finished / "results").rglob("*") if path.is_file()}
    made = exported(copy_of_finished, tools, "cards")
    assert made.stdout.strip() == "exports/smoke/cards"
    assert results == {path: sha256_file(path) for path in (copy_of_finished / "results").rglob("*") if path.is_file()}
    audited = tools["robustft"](copy_of_finished, "audit", "--scale", "smoke")
    assert audited.returncode == 0, audited.stdout


def test_a_tampered_run_is_not_exported(copy_of_finished, tools):
    numbers = copy_of_finished / "results" / "smoke" / "twins" / "numbers.json"
    numbers.write_text(numbers.read_text().replace('"correct": ', '"correct": 1', 1))
    made = tools["robustft"](copy_of_finished, "export", "page", "--scale", "smoke")
    assert made.returncode == 2
    assert "the audit of scale smoke failed, so nothing is exported" in made.stderr
    assert not (copy_of_finished / "exports").exists()
