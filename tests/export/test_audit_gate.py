"""Nothing is exported of a scale whose audit fails, unless asked, and then it says so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.export.cards import export_cards
from robustft.export.crate import export_crate
from robustft.export.page import export_page
from robustft.export.robustbench import export_robustbench
from robustft.files import ROOT, read_json
from robustft.provenance.roots import manifest_records, root_over

EXPORTS = {"page": export_page, "crate": export_crate, "cards": export_cards, "robustbench": export_robustbench}


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.mark.parametrize("form", EXPORTS)
def test_a_failed_audit_stops_every_export_and_leaves_nothing(form, tampered, tmp_path):
    with pytest.raises(RobustftError, match=r"audit of scale small failed[^$]*changed-file[^$]*history.csv"):
        EXPORTS[form](tampered, tmp_path / "out", log=quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"], "the results that were tampered with"


@pytest.mark.parametrize("form", EXPORTS)
def test_an_unaudited_export_says_so(form, tampered, tmp_path):
    made = EXPORTS[form](tampered, tmp_path / "out", unaudited=True, log=quiet)
    texts = [made] if made.is_file() else [path for path in made.rglob("*") if path.suffix in (".json", ".md")]
    said = [path for path in texts if "audit failed: " in path.read_text(encoding="utf-8").lower()]
    assert said
    if form == "robustbench":
        entries = read_json(made / "index.json")["entries"]
        assert entries
        assert all(read_json(made / name)["unreliable"] for name in entries)


@pytest.mark.parametrize("form", EXPORTS)
def test_every_export_names_the_root(form, finished, tmp_path):
    root = root_over(manifest_records(finished))
    made = EXPORTS[form](finished, tmp_path / "out", log=quiet)
    texts = [made] if made.is_file() else [path for path in made.rglob("*") if path.suffix in (".json", ".md")]
    assert any(root in path.read_text(encoding="utf-8") for path in texts if "results" not in path.parts)


def test_no_export_imports_torch():
    modules = ", ".join(f"robustft.export.{name}" for name in EXPORTS)
    code = f"import sys, {modules}\nprint(sorted({{'torch', 'timm', 'snakemake'}} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"


def test_a_run_that_was_not_finished_is_told_to_go_on(finished, tmp_path):
    record = Path(finished.step("numbers", "toy").record)
    content = record.read_bytes()
    record.unlink()
    try:
        with pytest.raises(RobustftError, match="run snakemake to the end"):
            export_page(finished, tmp_path / "page.html", log=quiet)
    finally:
        record.write_bytes(content)


def test_two_exports_of_the_same_results_are_the_same_bytes(finished, tmp_path):
    for form, export in EXPORTS.items():
        one, two = (export(finished, tmp_path / name / form, log=quiet) for name in ("one", "two"))
        files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()] if one.is_dir() else [Path()]
        assert files
        for name in files:
            assert (one / name).read_bytes() == (two / name).read_bytes(), f"{form}: {name}"
    assert json.loads((tmp_path / "one" / "crate" / "ro-crate-metadata.json").read_text())["@graph"]
