"""Hostile archives and pickles through the real steps, from a mirror whose hash is the right one: all of it is refused.

Memory of each process is bounded by its address space, so a bomb that was unpacked would be told by a MemoryError.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.faults.test_damaged_files import DAMAGES

ARCHIVE = ("caltech256", "256_ObjectCategories.tar", "datasets.yaml")
WEIGHTS = ("resnet50_linf_eps4", "resnet50_linf_eps4.0.ckpt", "weights.yaml")
TOP = "256_ObjectCategories"
A = f"{TOP}/001.a"
TRAP = "stolen-by-a-hostile-file"


def member(name: str, data: bytes = b"x", **attributes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def zip_bomb() -> bytes:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{A}/0.jpg", "w") as inner,
    ):
        for _ in range(1200):
            inner.write(bytes(1 << 20))
    return stream.getvalue()


def huge_header() -> bytes:
    info = tarfile.TarInfo(f"{A}/0.jpg")
    info.size = 1 << 50
    return gzip.compress(info.tobuf() + bytes(1024))


def link(name: str, target: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, b"", type=kind, linkname=target)


PICTURES = [member(f"{TOP}/{name}/{number}.jpg", b"no picture") for name in ("001.a", "002.b") for number in (0, 9)]
ARCHIVES = {
    "parent": lambda: tar_of(*PICTURES, member(f"../{TRAP}")),
    "absolute": lambda: tar_of(*PICTURES, member(f"/tmp/{TRAP}")),
    "symlink": lambda: tar_of(*PICTURES, link(f"{TOP}/out", "/etc", tarfile.SYMTYPE), member(f"{TOP}/out/{TRAP}")),
    "hard link": lambda: tar_of(*PICTURES, link(f"{A}/1.jpg", "/etc/passwd", tarfile.LNKTYPE)),
    "device": lambda: tar_of(*PICTURES, member(f"{A}/1.jpg", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=5)),
    "twice": lambda: tar_of(*PICTURES, *PICTURES),
    "zip bomb": zip_bomb,
    "huge header": huge_header,
    "no archive": lambda: b"<!DOCTYPE html><html></html>",
}


class Command:
    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def memo_bomb() -> bytes:
    """Lists of two times the list before: 300 bytes that are 2**40 entries for whoever walks through them."""
    levels = b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"eq" + bytes([n + 1]) for n in range(40))
    return b"\x80\x02]q\x00" + levels + b"."


def persistent() -> bytes:
    return b"\x80\x02(X\x07\x00\x00\x00storagecos\nsystem\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ."


PICKLES = {
    "os.system": lambda: pickle.dumps({"model": Command(os.system, f"touch {TRAP}")}, 2),
    "subprocess": lambda: pickle.dumps(Command(subprocess.call, ["touch", TRAP]), 2),
    "eval": lambda: pickle.dumps(Command(eval, f"open({TRAP!r}, 'w')"), 2),
    "memo bomb": memo_bomb,
    "persistent id": persistent,
    "huge frame": lambda: b"\x80\x04\x95" + (1 << 62).to_bytes(8, "little") + b".",
    "huge bytes": lambda: b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b".",
}


def prepared(folder: Path, mirror: Path, entry: tuple[str, str, str], data: bytes) -> None:
    """Place the file in the mirror, and give the configuration its hash: the publisher itself is hostile."""
    key, name, document = entry
    mirror.mkdir()
    (mirror / name).write_bytes(data)
    path = folder / "config" / document
    head, rest = path.read_text(encoding="utf-8").split(f"  {key}:\n", 1)
    lines = rest.splitlines(keepends=True)
    for number, line in enumerate(lines[:6]):
        if line.startswith("    sha256:"):
            lines[number] = f"    sha256: {hashlib.sha256(data).hexdigest()}\n"
        if line.startswith("    md5:"):
            lines[number] = f"    md5: {hashlib.md5(data).hexdigest()}\n"
        if line.startswith("    bytes:"):
            lines[number] = f"    bytes: {len(data)}\n"
    path.write_text(head + f"  {key}:\n" + "".join(lines), encoding="utf-8")


def step(folder: Path, mirror: Path, *arguments: str, limit_gb: int) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"ROBUSTFT_MIRROR": str(mirror), "ROBUSTFT_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["prlimit", f"--as={limit_gb << 30}", sys.executable, "-m", "robustft", *arguments, "--papers", "twins"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def refused(done: subprocess.CompletedProcess, folder: Path) -> None:
    assert done.returncode == 2, done.stderr
    assert "error:" in done.stderr
    assert "where:" in done.stderr
    assert "Traceback" not in done.stderr
    assert "MemoryError" not in done.stderr
    for place in (folder, folder.parent, Path("/tmp"), Path("/etc"), Path.cwd()):
        assert not (place / TRAP).exists(), "something was written outside, or run"


@pytest.mark.hpc
@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_hostile_archive_is_refused_by_the_data_step(workflow, faults, tmp_path, kind):
    # A mirror with a space and a letter outside ASCII: paths are data, not shell text.
    folder, mirror = workflow(tmp_path / "w").folder, tmp_path / "a mirror é"
    prepared(folder, mirror, ARCHIVE, ARCHIVES[kind]())
    with faults.tried():
        fetched = step(folder, mirror, "download", ARCHIVE[0], "--scale", "paper", limit_gb=1)
        assert fetched.returncode == 0, fetched.stderr
        refused(step(folder, mirror, "data", "caltech256", "--scale", "paper", limit_gb=1), folder)


@pytest.mark.hpc
@pytest.mark.parametrize("kind", PICKLES)
def test_a_hostile_pickle_is_refused_by_the_weights_step(workflow, faults, tmp_path, kind):
    folder, mirror = workflow(tmp_path / "w").folder, tmp_path / "a mirror é"
    prepared(folder, mirror, WEIGHTS, PICKLES[kind]())
    with faults.tried():
        fetched = step(folder, mirror, "download", WEIGHTS[0], "--scale", "paper", limit_gb=1)
        assert fetched.returncode == 0, fetched.stderr
        refused(step(folder, mirror, "weights", "imagenet_linf_4", "--scale", "paper", limit_gb=8), folder)


@pytest.mark.hpc
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("entry", [ARCHIVE, WEIGHTS], ids=["archive", "weights"])
def test_a_download_damaged_after_it_came_is_refused_by_the_step_that_reads_it(
    workflow, faults, tmp_path, entry, damage
):
    folder, mirror = workflow(tmp_path / "w").folder, tmp_path / "mirror"
    prepared(folder, mirror, entry, tar_of(*PICTURES))
    scale, reader = {
        ARCHIVE: ("paper", ("data", "caltech256")),
        WEIGHTS: ("paper", ("weights", "imagenet_linf_4")),
    }[entry]
    with faults.tried():
        fetched = step(folder, mirror, "download", entry[0], "--scale", scale, limit_gb=1)
        assert fetched.returncode == 0, fetched.stderr
        (record,) = folder.glob("results/**/*.record.json")
        file = folder / json.loads(record.read_text())["outputs"]["file"]["path"]
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
        said = step(folder, mirror, *reader, "--scale", scale, limit_gb=8)
        refused(said, folder)
        assert f"delete {file.relative_to(folder)} and run snakemake" in said.stderr
