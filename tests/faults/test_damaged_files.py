"""Files cut off, empty, one bit off or a web page: named with what to do, never a traceback, then as before."""

import contextlib
import json
import random
import shutil
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.config import Config
from pipeline.errors import RobustftError
from pipeline.plan import Plan
from pipeline.provenance.record import read_record
from pipeline.provenance.run import run_step, scratch_folder

ROOT = Path(__file__).resolve().parents[2]
RUN = "twins/main/digits_5to9/at/seed0"
HTML = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"


def flipped(data: bytes) -> bytes:
    """Change one bit in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x01]) + data[middle + 1 :]


DAMAGES = {
    "truncated": lambda data: data[: len(data) * 2 // 3],
    "emptied": lambda data: b"",
    "bit_flipped": flipped,
    "web_page": lambda data: HTML,
}
READ = {
    "data": ("train", "pretraining/digits_at", "results/data/digits.safetensors"),
    "pretrained checkpoint": ("train", RUN, "results/smoke/pretraining/digits_at/checkpoint.safetensors"),
    "checkpoint": ("attack", f"{RUN}/robustness.1of1", f"results/smoke/{RUN}/checkpoint.safetensors"),
}
"""A step that reads it, and the file; each has a record."""


@pytest.fixture
def folder(small_run, copied, monkeypatch) -> Path:
    target = copied(small_run)
    monkeypatch.chdir(target)
    return target


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", READ)
def test_a_damaged_input_is_named_and_nothing_is_built_on_it(folder, faults, capfd, kind, damage):
    command, step, path = READ[kind]
    with faults.tried():
        data = Path(path).read_bytes()
        Path(path).write_bytes(DAMAGES[damage](data))
        assert main([command, step, "--scale", "smoke"]) == 2
        said = capfd.readouterr().err
        assert f"where:    {path}" in said
        assert "expected:" in said
        assert f"delete {path} and run snakemake" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("damage", ["truncated", "emptied", "web_page"])
@pytest.mark.parametrize("kind", READ)
def test_a_damaged_record_is_named_and_nothing_is_built_on_it(folder, faults, capfd, kind, damage):
    command, step, path = READ[kind]
    record = Path(path).with_name(f"{Path(path).name.split('.')[0]}.record.json")
    with faults.tried():
        record.write_bytes(DAMAGES[damage](record.read_bytes()))
        assert main([command, step, "--scale", "smoke"]) == 2
        said = capfd.readouterr().err
        assert str(record) in said
        assert "run snakemake" in said
        assert "Traceback" not in said


def test_a_bit_flipped_anywhere_in_a_record_is_never_a_traceback(folder, faults, capfd):
    """A letter of a key was once enough for a KeyError in the step, the audit and explain."""
    record = Path("results/data/digits.record.json")
    whole, draws = record.read_bytes(), random.Random(0)
    text = json.loads(whole)
    for _ in range(150):
        with faults.tried():
            place = draws.randrange(len(whole))
            damaged = bytearray(whole)
            damaged[place] ^= 1 << draws.randrange(8)
            record.write_bytes(damaged)
            with contextlib.suppress(RobustftError):  # anything else is what must not be
                entry = read_record(record).output("results/data/digits.safetensors")
                assert entry is None or set(entry) == set(text["outputs"]["data"])
    record.write_bytes(whole)
    for place in sorted(draws.sample(range(len(whole)), 12)):
        with faults.tried():
            record.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
            assert main(["audit", "--scale", "smoke", "--papers", "twins"]) == 1
            said = capfd.readouterr()
            assert "FAIL" in said.out
            assert "Traceback" not in said.err


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["attempts", "failed-1.json"])
def test_a_damaged_note_of_an_attempt_does_not_stop_the_work(tmp_path, monkeypatch, faults, name, damage):
    """It once ended a step at its very end, when its record was written, and each further attempt as well."""
    monkeypatch.chdir(tmp_path)
    step = Plan(Config(scale="smoke", papers=["twins"])).step("data", "digits")
    with faults.tried():
        note = scratch_folder(step) / name
        note.parent.mkdir(parents=True)
        note.write_bytes(DAMAGES[damage](b'{"attempts": 3}'))
        record = read_record(run_step(step, say=lambda _: None)).values
        assert record["circumstances"]["attempt"] >= 1


@pytest.mark.parametrize("name", ["training.state", "autoattack.0-64.piece"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_resume_files_are_recognised(tmp_path, faults, name, damage):
    from pipeline.files import read_checked, write_checked

    path = tmp_path / name
    with faults.tried():
        write_checked(path, b"state" * 100)
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
        assert read_checked(path) is None


CONFIGS = sorted(path.relative_to(ROOT) for path in (ROOT / "config").rglob("*.yaml") if "paper.yaml" not in path.name)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_configuration_is_named(tmp_path, faults, damage):
    """Cut off, emptied or replaced it is an error that names it; one bit may be a letter of a title, or an error."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for name in CONFIGS:
        path, scale = tmp_path / name, name.stem if name.parent.name == "scales" else "smoke"
        whole = path.read_bytes()
        with faults.tried():
            path.write_bytes(DAMAGES[damage](whole))
            said = None
            try:
                Config(scale=scale, folder=tmp_path / "config")
            except RobustftError as error:
                said = str(error)
            assert said is None or len(said.splitlines()) > 1, "it says where and what to do"
            assert said or damage in ("bit_flipped", "truncated"), name
        path.write_bytes(whole)
