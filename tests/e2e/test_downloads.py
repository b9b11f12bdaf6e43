"""Files from elsewhere through the real workflow: offline, from a wrong mirror, from a good one, changed afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustft.files import ROOT

TARGET = "results/downloads/cifar10_jpeg.download"
SHARED = ROOT.parent / "shared" / "data"
ARGUMENTS = ("scale=small_cpu", "papers=[twins]")


@pytest.fixture
def folder(tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ROBUSTFT_MIRROR", "ROBUSTFT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tools["copy_checkout"](tmp_path / "checkout")


def fetch(tools, folder: Path, *config: str) -> str:
    """Ask Snakemake for the one file and return what it printed."""
    return tools["snakemake"](folder, *ARGUMENTS, *config, "--", TARGET, check=False)


def test_offline_the_missing_file_is_named_with_what_to_do(folder, tools):
    said = fetch(tools, folder, "offline=True")
    assert "cifar10-jpeg.tar.xz" in said
    assert "ROBUSTFT_MIRROR" in said
    assert not (folder / TARGET).exists()
    listed = tools["robustft"](folder, "files", "--scale", "small_cpu", "--papers", "twins")
    assert listed.returncode == 1
    assert "1 of the 1 files that are needed are missing" in listed.stdout


def test_a_mirror_with_other_bytes_is_refused_by_hash_and_left_alone(folder, tools, tmp_path):
    mirror = tmp_path / "a mirror"
    mirror.mkdir()
    (mirror / "cifar10-jpeg.tar.xz").write_bytes(b"not it")
    said = fetch(tools, folder, f"mirror={mirror}", "offline=True")
    assert "3d90abe56ad705a7060bbd396f8c16c54d1528c0b1d1189383c9552be7582276" in said or "18546476" in said
    assert not (folder / TARGET).exists()
    assert (mirror / "cifar10-jpeg.tar.xz").read_bytes() == b"not it"


@pytest.mark.skipif(not (SHARED / "cifar10-jpeg.tar.xz").exists(), reason="needs the archive beside the checkout")
def test_a_mirror_gives_the_file_and_the_audit_sees_a_later_change(folder, tools):
    fetch(tools, folder, f"mirror={SHARED}", "offline=True")
    path = folder / TARGET
    assert path.stat().st_size == 18546476
    assert not path.samefile(SHARED / "cifar10-jpeg.tar.xz"), "the mirror's own file must not be the output"
    listed = tools["robustft"](folder, "files", "--scale", "small_cpu", "--papers", "twins")
    assert (listed.returncode, listed.stdout.strip()) == (0, "0 of the 1 files that are needed are missing")
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    audit = tools["robustft"](folder, "audit", "--scale", "small_cpu", "--papers", "twins")
    assert audit.returncode == 1
    assert "changed-download" in audit.stdout


def test_weights_of_a_package_are_converted_and_the_audit_hashes_their_file(folder, tools):
    """The ResNet-18 that AutoAttack ships: a pickle, read without running it."""
    tools["snakemake"](folder, *ARGUMENTS, "--", "results/weights/cifar10_standard.safetensors")
    record = json.loads((folder / "results/weights/cifar10_standard.record.json").read_text())
    assert record["step"]["spec"]["backbone"]["name"] == "resnet18_cifar"
    catalogue = folder / "config" / "weights.yaml"
    (sha256,) = {record["step"]["spec"]["weights"]["sha256"]}
    catalogue.write_text(catalogue.read_text().replace(sha256, "f" * 64))
    audit = tools["robustft"](folder, "audit", "--scale", "small_cpu", "--papers", "twins")
    assert "changed-source-data" in audit.stdout
    assert sha256 in audit.stdout
