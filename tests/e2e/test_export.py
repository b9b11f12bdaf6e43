"""`robustft export` on a finished run, as a user calls it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustft.files import read_json, sha256_file
from robustft.provenance.roots import root_over


def exported(folder: Path, tools, *arguments: str) -> subprocess.CompletedProcess[str]:
    made = tools["robustft"](folder, "export", *arguments, "--scale", "smoke")
    assert made.returncode == 0, made.stderr
    return made


def audit_of(crate: Path) -> subprocess.CompletedProcess[str]:
    """Audit a crate with the source that is in it."""
    environment = {**os.environ, "PYTHONPATH": str(crate / "pipeline"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = next(line for line in (crate / "README.md").read_text().splitlines() if "robustft audit" in line)
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
    root = root_over({"twins": sha256_file(finished / "results" / "smoke" / "twins" / "manifest.record.json")})
    assert f"root: {root}" in audited.stdout
    table = crate / "results" / "smoke" / "twins" / "tables" / "main.csv"
    table.write_text(table.read_text().replace("twins_at,clean,", "twins_at,clean,9", 1))
    audited = audit_of(crate)
    assert audited.returncode == 1
    assert "changed-file" in audited.stdout


@pytest.mark.parametrize("form", ["robustbench", "cards", "page"])
def test_each_form_is_written_and_says_what_it_is_of(form, finished, tools, tmp_path):
    target = tmp_path / ("page.html" if form == "page" else form)
    made = exported(finished, tools, form, "--to", str(target))
    assert made.stdout.strip() == str(target)
    root = root_over({"twins": sha256_file(finished / "results" / "smoke" / "twins" / "manifest.record.json")})
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


@pytest.mark.hpc
def test_an_export_killed_at_any_moment_leaves_a_whole_crate_or_none(finished, tmp_path):
    """Kill -9 while the first crate is written, and while one takes another's place; then go on."""
    tries, whole = 12, 0
    command = [sys.executable, "-m", "robustft", "export", "crate", "--scale", "smoke", "--to"]
    for number in range(tries):
        target = tmp_path / ("first" if number % 2 else "again")
        if number % 2:
            shutil.rmtree(target, ignore_errors=True)
        running = subprocess.Popen([*command, str(target)], cwd=finished, stderr=subprocess.PIPE, text=True)
        for line in running.stderr:
            if "writing" in line:  # from here on files are copied, and then renamed
                break
        time.sleep(random.Random(number).uniform(0, 0.6))
        running.kill()
        running.communicate()
        if target.exists():
            whole += 1
            described = {one["@id"]: one for one in read_json(target / "ro-crate-metadata.json")["@graph"]}
            for name, entity in described.items():
                if entity["@type"] == "File":
                    assert sha256_file(target / name) == entity["sha256"], name
        made = subprocess.run(
            [*command, str(tmp_path / "again")], cwd=finished, capture_output=True, text=True, check=True
        )
        assert made.stdout.strip() == str(tmp_path / "again")
    left = {path.name for path in tmp_path.iterdir() if path.suffix in (".part", ".old")}
    assert left <= {".first.part"}, "what a killed export left goes with the next one to the same place"
    print(f"{tries} exports killed, {whole} whole crates found, 0 broken")  # noqa: T201 (what was tried is told)
