"""The crate: what it says is complete and true, its files are there, and the public validator accepts it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from robustft.export.crate import export_crate
from robustft.files import ROOT, read_json, sha256_file
from tests.export.validator import validate, warm_cache


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture
def crate(finished, tmp_path) -> Path:
    return export_crate(finished, tmp_path / "crate", log=quiet)


def graph(crate: Path) -> dict[str, dict]:
    return {one["@id"]: one for one in read_json(crate / "ro-crate-metadata.json")["@graph"]}


def ids(value) -> list[str]:
    """The identifiers that a property refers to."""
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def test_the_public_validator_accepts_it_as_a_provenance_run_crate(crate, tmp_path):
    report = validate(crate, cache=warm_cache(tmp_path / "cache"))
    assert report["issues"] == []
    assert report["passed"] is True
    assert "provenance-run-crate-0.5" in report["statistics"]["profiles"]
    assert report["statistics"]["total_passed_checks"] > 80


@pytest.mark.hpc
def test_the_public_validator_refuses_a_crate_whose_job_has_lost_its_tool(crate, tmp_path):
    path = crate / "ro-crate-metadata.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del next(one for one in content["@graph"] if one["@id"].startswith("#job/train/"))["instrument"]
    path.write_text(json.dumps(content), encoding="utf-8")
    report = validate(crate, cache=warm_cache(tmp_path / "cache"), fail_fast=True)
    assert report["passed"] is False
    assert any("instrument" in issue["message"] for issue in report["issues"])


def test_nothing_refers_to_what_is_not_there(crate):
    found, outside = graph(crate), ("https://w3id.org/", "https://bioschemas.org/", "https://doi.org/")
    missing = set()
    for entity in found.values():
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and one["@id"] not in found and not one["@id"].startswith(outside):
                    missing.add(one["@id"])
    assert missing == set()


def test_files_are_there_as_described_and_large_ones_are_described_alone(finished, crate):
    found = graph(crate)
    for entity in (one for one in found.values() if "sha256" in one and one["@id"][0] != "#"):
        path = crate / entity["@id"]
        assert sha256_file(path) == entity["sha256"], path
        if "contentSize" in entity:
            assert path.stat().st_size == int(entity["contentSize"])
    described = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()}
    assert described - set(found) == set(), "every file is described"
    assert not list(crate.rglob("*.safetensors"))
    step = finished.step("train", "toy/main/high/at/seed0")
    checkpoint = step.outputs["checkpoint"]
    entity = found[f"#{checkpoint}"]
    assert (entity["sha256"], int(entity["contentSize"])) == (sha256_file(checkpoint), Path(checkpoint).stat().st_size)
    for name in (
        "pipeline/robustft/methods/twins.py",
        "envs/run.txt",
        "config/attacks.yaml",
        "LICENSE",
        "CITATION.cff",
    ):
        assert found[name]["sha256"] == sha256_file(ROOT / name)


def test_with_everything_in_it_nothing_is_left_out(finished, tmp_path):
    crate = export_crate(finished, tmp_path / "crate", include_large=True, log=quiet)
    found = graph(crate)
    for step in finished.steps.values():
        for path in (*step.outputs.values(), step.record):
            assert sha256_file(crate / path) == sha256_file(path) == found[path]["sha256"]
    assert not [id for id in found if id.startswith("#results")]


def test_an_archive_holds_what_the_folder_holds(finished, crate, tmp_path):
    packed = export_crate(finished, tmp_path / "crate.zip", log=quiet)
    with zipfile.ZipFile(packed) as stream:
        names = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()}
        assert set(stream.namelist()) == names
        assert all(stream.read(name) == (crate / name).read_bytes() for name in names)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == ["crate", "crate.zip"]


def test_a_missing_output_is_said_to_be_missing_in_an_unaudited_crate(finished, tmp_path):
    path = Path(finished.step("train", "toy/main/high/at/seed0").outputs["history"])
    content = path.read_bytes()
    path.unlink()
    try:
        crate = export_crate(finished, tmp_path / "crate", unaudited=True, log=quiet)
    finally:
        path.write_bytes(content)
    assert graph(crate)[f"#{path}"]["description"] == "MISSING when this crate was made."
    assert not (crate / path).exists()
