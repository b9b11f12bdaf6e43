"""Files from elsewhere through the real workflow: offline, from a wrong mirror, from a good one, changed afterwards."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from robustft.data.formats.archives import read

TARGET = "results/downloads/cifar10_python.download"
MEMBERS = ("batches.meta", *(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
ARGUMENTS = ("scale=small_cpu", "papers=[twins]")
OWN = "results/small_cpu/twins/deviations.md"
"""A cheap file of the scale's own: the audit asks for one."""


@pytest.fixture
def folder(tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ROBUSTFT_MIRROR", "ROBUSTFT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tools["copy_checkout"](tmp_path / "checkout")


def fetch(tools, folder: Path, *config: str) -> str:
    """Ask Snakemake for the one file and return what it printed."""
    return tools["snakemake"](folder, *ARGUMENTS, *config, "--", TARGET, check=False)


@pytest.fixture
def mirror(folder: Path, tmp_path: Path) -> Path:
    """Return a mirror with files for which the configuration of the checkout has the hashes."""
    place = tmp_path / "a mirror" / "cifar-10-batches-py"
    place.mkdir(parents=True)
    catalogue = folder / "config" / "datasets.yaml"
    text = catalogue.read_text()
    for name in MEMBERS:
        (place / name).write_text(f"the file {name}")
        md5 = hashlib.md5((place / name).read_bytes()).hexdigest()
        text = re.sub(rf"(  cifar-10-batches-py/{re.escape(name)}: )[0-9a-f]{{32}}", rf"\g<1>{md5}", text)
    catalogue.write_text(text)
    return place.parent


def test_offline_the_missing_file_is_named_with_what_to_do(folder, tools):
    said = fetch(tools, folder, "offline=True")
    assert "cifar-10-python.tar.gz" in said
    assert "ROBUSTFT_MIRROR" in said
    assert not (folder / TARGET).exists()
    listed = tools["robustft"](folder, "files", "--scale", "small_cpu", "--papers", "twins")
    assert listed.returncode == 1
    assert "cifar10_python: cifar-10-python.tar.gz" in listed.stdout


def test_a_mirror_with_other_bytes_is_refused_by_hash_and_left_alone(folder, tools, mirror):
    (mirror / "cifar-10-batches-py" / "test_batch").write_bytes(b"not it")
    said = fetch(tools, folder, f"mirror={mirror}", "offline=True")
    assert "not the published files: cifar-10-batches-py/test_batch: expected" in said
    assert not (folder / TARGET).exists()
    assert (mirror / "cifar-10-batches-py" / "test_batch").read_bytes() == b"not it"


def test_an_unpacked_mirror_gives_the_archive_and_the_audit_sees_a_later_change(folder, tools, mirror):
    fetch(tools, folder, f"mirror={mirror}", "offline=True")
    path = folder / TARGET
    assert dict(read(path))["cifar-10-batches-py/test_batch"] == b"the file test_batch"
    data = bytearray(path.read_bytes())
    data[520] ^= 1  # in the first file
    path.write_bytes(data)
    tools["snakemake"](folder, *ARGUMENTS, "--", OWN)
    audit = tools["robustft"](folder, "audit", "--scale", "small_cpu", "--papers", "twins")
    assert audit.returncode == 1
    assert "changed-download" in audit.stdout


def test_weights_of_a_package_are_converted_and_the_audit_hashes_their_file(folder, tools):
    """The ResNet-18 that AutoAttack ships: a pickle, read without running it."""
    gpu = ("scale=gpu", "papers=[twins]")
    tools["snakemake"](
        folder, *gpu, "--", "results/weights/cifar10_standard.safetensors", OWN.replace("small_cpu", "gpu")
    )
    record = json.loads((folder / "results/weights/cifar10_standard.record.json").read_text())
    assert record["step"]["spec"]["backbone"]["name"] == "resnet18_cifar"
    catalogue = folder / "config" / "weights.yaml"
    (sha256,) = {record["step"]["spec"]["weights"]["sha256"]}
    catalogue.write_text(catalogue.read_text().replace(sha256, "f" * 64))
    audit = tools["robustft"](folder, "audit", "--scale", "gpu", "--papers", "twins")
    assert "changed-source-data" in audit.stdout
    assert sha256 in audit.stdout
