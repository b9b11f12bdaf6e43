"""Running a step: what goes into its record, and what it refuses to build on."""

import dataclasses
import json
from pathlib import Path

import pytest

from robustft.config.load import Config
from robustft.errors import IntegrityError, RobustftError
from robustft.files import digest_of, sha256_file
from robustft.plan import Plan
from robustft.provenance.environment import environment, locked_versions
from robustft.provenance.record import read_record
from robustft.provenance.run import run_step, scratch_folder


@pytest.fixture
def step(tmp_path, monkeypatch):
    """The step that decodes the digits, in a folder of its own: real and fast."""
    monkeypatch.chdir(tmp_path)
    return Plan(Config(scale="demo")).step("data", "digits")


def silent(_: str) -> None:
    pass


def test_the_record_says_what_was_read_run_and_written(step):
    record = read_record(run_step(step, log=silent)).values
    assert record["step"]["spec"] == step.spec
    assert record["step"]["spec_sha256"] == digest_of(step.spec)
    data = record["outputs"]["data"]
    assert data == {"path": step.outputs["data"], "sha256": sha256_file(data["path"]), "bytes": data["bytes"]}
    assert set(record["source"]["files"]) == set(step.sources())
    assert record["environment"]["packages"]["torch"]
    assert record["environment"]["lock"]["not_as_locked"] == []
    assert {"host", "seconds", "peak_memory_mb", "attempt", "vouchers"} <= set(record["circumstances"])


def test_a_step_that_ends_well_leaves_no_scratch(step):
    run_step(step, log=silent)
    assert not scratch_folder(step).exists()


def test_attempts_are_counted_until_one_succeeds(step, monkeypatch):
    import robustft.data.step as module

    real = module.decode
    monkeypatch.setattr(module, "decode", lambda *a, **k: (_ for _ in ()).throw(RobustftError("no luck")))
    for _ in range(2):
        with pytest.raises(RobustftError, match="no luck") as error:
            run_step(step, log=silent)
    (note,) = scratch_folder(step).glob("failed-*.json")  # one for each process
    assert json.loads(note.read_text())["error"] == "RobustftError: no luck"
    assert error.value.__notes__ == [f"The step {step.key} failed; what is known about it is in {note}."]
    monkeypatch.setattr(module, "decode", real)
    circumstances = read_record(run_step(step, log=silent)).values["circumstances"]
    assert circumstances["attempt"] == 3
    assert [failure["error"] for failure in circumstances["failed_attempts"]] == ["RobustftError: no luck"]


@pytest.fixture
def consumer(step):
    """A step that reads what the other one made."""
    run_step(step, log=silent)
    return dataclasses.replace(
        step,
        id="consumer",
        inputs={"data": step.outputs["data"]},
        upstream={"data": step.record},
        outputs={"data": "results/consumer.safetensors"},
    )


def test_an_input_that_is_not_what_its_step_wrote_is_refused(step, consumer):
    run_step(consumer, log=silent)
    path = Path(step.outputs["data"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="the input 'data' is not what its step wrote") as error:
        run_step(consumer, log=silent)
    assert sha256_file(path) in str(error.value)


def test_a_package_that_is_not_as_locked_is_named(tmp_path, monkeypatch):
    import robustft.provenance.environment as module

    lock = tmp_path / "lock.txt"
    lock.write_text("numpy==0.0.1 ; python_full_version < '3.12' \\\n    --hash=sha256:00\nPyYAML==1 \\\n")
    assert locked_versions(lock) == {"numpy": {"0.0.1"}, "pyyaml": {"1"}}
    monkeypatch.setattr(module, "LOCK", str(lock))
    assert "numpy" in environment()["lock"]["not_as_locked"]
