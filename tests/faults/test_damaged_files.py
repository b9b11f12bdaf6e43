"""Files cut off, empty, one bit off or a web page: named with what to do, never a traceback, then as before."""

import contextlib
import json
import random
import shutil
from pathlib import Path

import pytest

from robustft.cli.parser import main
from robustft.config.load import Config
from robustft.errors import RobustftError
from robustft.plan import Plan
from robustft.provenance.record import read_record
from robustft.provenance.run import run_step, scratch_folder
from tests.e2e.test_dag import outputs

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
        record = read_record(run_step(step, log=lambda _: None)).values
        assert record["circumstances"]["attempt"] >= 1


@pytest.mark.parametrize("name", ["training.state", "autoattack.0-64.piece"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_resume_files_are_recognised(tmp_path, faults, name, damage):
    from robustft.files import read_checked, write_checked

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
        scale = "reference" if "references" in name.parts else scale  # the scale that has this paper
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


# -- every kind of file of a finished workflow -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(Config(scale="smoke", papers=["twins"]))


@pytest.fixture
def whole(undisturbed, workflow, tmp_path, monkeypatch):
    """A finished workflow of one's own, to be damaged."""
    made = workflow(tmp_path / "whole")
    shutil.rmtree(made.folder)
    shutil.copytree(undisturbed[0].folder, made.folder, symlinks=True)
    monkeypatch.chdir(made.folder)
    return made


def kinds(plan: Plan) -> dict[str, str]:
    """Return a file of each kind that the workflow writes, records too, by what it is."""
    found = {}
    for step in plan.steps.values():
        for role, path in (*step.outputs.items(), ("record", step.record)):
            found.setdefault(f"{step.kind}: {role}", path)
    return found


@contextlib.contextmanager
def damaged(path: Path, damage: str):
    data = path.read_bytes()
    path.write_bytes(DAMAGES[damage](data))
    try:
        yield
    finally:
        path.write_bytes(data)


@pytest.mark.hpc
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_step_refuses_each_kind_of_input_that_is_damaged(whole, plan, faults, capfd, damage):
    examples = {}
    for step in plan.steps.values():
        for path in step.inputs.values():
            maker = plan.producer(path)
            (role,) = (role for role, made in maker.outputs.items() if made == path)
            examples.setdefault((step.kind, maker.kind, role), (step, path))
    assert {maker for _, maker, _ in examples} >= {"data", "train", "attack", "numbers", "verdicts", "table", "figure"}
    for step, path in examples.values():
        if step.kind == "manifest":
            continue  # it reads records and no other file
        with faults.tried(), damaged(Path(path), damage):
            assert main([step.kind, step.id, "--scale", "smoke", "--papers", "twins"]) == 2, (step.key, path)
            said = capfd.readouterr().err
            assert f"delete {path} and run snakemake" in said
            assert "Traceback" not in said


@pytest.mark.hpc
@pytest.mark.parametrize("damage", DAMAGES)
def test_the_audit_names_each_kind_of_file_that_is_damaged(whole, plan, faults, capfd, damage):
    for kind, path in kinds(plan).items():
        with faults.tried(), damaged(Path(path), damage):
            assert main(["audit", "--scale", "smoke", "--papers", "twins"]) == 1, kind
            said = capfd.readouterr()
            assert path in said.out, kind
            assert "Traceback" not in said.err
    assert main(["audit", "--scale", "smoke", "--papers", "twins"]) == 0


@pytest.mark.hpc
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_of_every_kind_deleted_as_told_are_made_again_with_the_same_bytes(
    whole, plan, undisturbed, faults, capfd, damage
):
    paths = sorted(set(kinds(plan).values()))
    with faults.tried(len(paths)):
        for path in map(Path, paths):
            path.write_bytes(DAMAGES[damage](path.read_bytes()))
        assert main(["audit", "--scale", "smoke", "--papers", "twins"]) == 1
        said = capfd.readouterr().out
        for path in paths:
            if path in said:
                Path(path).unlink()
        whole.finish(unlock=False)
        assert outputs(whole.folder) == outputs(undisturbed[0].folder)
        assert main(["audit", "--scale", "smoke", "--papers", "twins"]) == 0
