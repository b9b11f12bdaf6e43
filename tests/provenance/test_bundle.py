"""Several steps in one job: each with its own record and its own bytes, and none twice when the job is stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import robustft.train.step as training
from robustft.errors import RobustftError
from robustft.files import ROOT, sha256_file
from robustft.plan import Plan
from robustft.plan.step import Bundle, Step
from robustft.provenance import bundle as bundles
from robustft.provenance import run as running
from robustft.provenance.bundle import run_bundle
from robustft.provenance.record import read_record
from robustft.provenance.run import SCRATCH, run_step, scratch_folder
from tests import toy_config

NAME = "toy_main_high_at"


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="module", autouse=True)
def settings_restored():
    """The steps set torch's process-wide switches."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Path:
    """A folder with the data and the pre-trained model that the bundles read."""
    folder, before = tmp_path_factory.mktemp("ready"), Path.cwd()
    plan = Plan(toy_config.write(folder / "config"))
    os.chdir(folder)
    try:
        for step in (plan.step("data", "digits"), plan.step("train", "pretraining/low_standard")):
            run_step(step, log=silent)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def plan(ready, tmp_path, monkeypatch) -> Plan:
    """The plan of the small configuration, in a folder of its own where a bundle can be run."""
    shutil.copytree(ready, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Plan(toy_config.write(tmp_path / "work" / "config"))


@pytest.fixture
def bundle(plan) -> Bundle:
    return plan.bundle(NAME)


def files(step: Step) -> list[Path]:
    return [*map(Path, step.outputs.values()), Path(step.record)]


def hashes(bundle: Bundle) -> dict[str, str]:
    """The bytes of every output, records left out: they tell when they were made."""
    return {path: sha256_file(path) for step in bundle.steps for path in step.outputs.values()}


def deleted(bundle: Bundle) -> None:
    """What Snakemake does with the outputs of a job that failed."""
    for step in bundle.steps:
        for path in files(step):
            path.unlink(missing_ok=True)


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def stopped(monkeypatch):
    """Run a bundle whose training of seed 1, the third of four steps, ends in an error; return what was said."""

    def stop(bundle: Bundle, error: type[BaseException] = RobustftError) -> list[str]:
        said: list[str] = []

        def train(spec, context):
            if spec["seed"] == 1:
                raise error("no luck")
            real(spec, context)

        real = training.train
        with monkeypatch.context() as patch:
            patch.setattr(training, "train", train)
            with pytest.raises(error, match="no luck"):
                run_bundle(bundle, log=said.append)
        return said

    return stop


def ran(said: list[str]) -> list[str]:
    """The steps that were started, by what was said."""
    return [line.split(" ")[0] for line in said if " starts" in line]


def taken(said: list[str]) -> list[str]:
    return [line.split(" ")[0] for line in said if "taken from" in line]


def test_each_step_of_a_bundle_has_its_own_outputs_and_its_own_record(bundle):
    said: list[str] = []
    run_bundle(bundle, log=said.append)
    assert ran(said) == [step.key for step in bundle.steps]
    for step in bundle.steps:
        record = read_record(step.record).values
        assert record["step"] == {"kind": step.kind, "id": step.id, "spec": step.spec} | {
            "spec_sha256": record["step"]["spec_sha256"]
        }
        for role, path in step.outputs.items():
            assert record["outputs"][role]["sha256"] == sha256_file(path)
        assert {role: entry["sha256"] for role, entry in record["inputs"].items()} == {
            role: sha256_file(path) for role, path in step.inputs.items()
        }
        assert set(record["source"]["files"]) == set(step.sources())


def test_a_bundle_that_ends_well_leaves_no_scratch(bundle):
    run_bundle(bundle, log=silent)
    assert list(Path(SCRATCH).iterdir()) == []


ALONE = """
import sys
from pathlib import Path
from robustft.plan import Plan
from robustft.provenance.run import run_step
from tests import toy_config
plan = Plan(toy_config.write(Path("config")))
for key in sys.argv[1:]:
    run_step(plan.steps[key], log=lambda line: None)
"""


def test_a_bundle_writes_the_bytes_of_its_steps_run_alone(bundle, plan, tmp_path):
    """In a process of its own each, so nothing that a step leaves behind in the process can matter."""
    run_bundle(bundle, log=silent)
    together = hashes(bundle)
    folder = tmp_path / "alone"
    shutil.copytree(Path.cwd(), folder)
    for step in bundle.steps:
        for path in files(step):
            (folder / path).unlink()
    for keys in (bundle.steps[2:], bundle.steps[:2]):  # and in another order
        command = [sys.executable, "-c", ALONE, *(step.key for step in keys)]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'pipeline'}:{ROOT}"}
        subprocess.run(command, cwd=folder, env=environment, check=True)
    assert {path: sha256_file(folder / path) for path in together} == together
    assert len(set(together.values())) == len(together)  # no two outputs are the same


@pytest.mark.parametrize("error", [RobustftError, KilledError])
def test_a_bundle_started_again_takes_finished_steps_from_scratch_and_does_only_the_rest(error, bundle, stopped):
    """Snakemake deletes what a failed job wrote; the records come back as they were, and so do the bytes."""
    first = stopped(bundle, error)
    keys = [step.key for step in bundle.steps]
    assert ran(first) == keys[:3]
    kept = {path: path.read_bytes() for step in bundle.steps[:2] for path in files(step)}
    deleted(bundle)
    said: list[str] = []
    run_bundle(bundle, log=said.append)
    assert taken(said) == keys[:2]
    assert ran(said) == keys[2:]
    assert {path: path.read_bytes() for path in kept} == kept
    again = hashes(bundle)
    deleted(bundle)
    run_bundle(bundle, log=silent)
    assert hashes(bundle) == again
    assert list(Path(SCRATCH).iterdir()) == []


def test_the_failure_is_kept_and_told_in_the_record_of_the_step_that_failed(bundle, stopped):
    stopped(bundle)
    deleted(bundle)
    run_bundle(bundle, log=silent)
    for step, attempts in zip(bundle.steps, (1, 1, 2, 1), strict=True):
        circumstances = read_record(step.record).values["circumstances"]
        assert circumstances["attempt"] == attempts, step.key
        assert len(circumstances["failed_attempts"]) == attempts - 1
    failure = read_record(bundle.steps[2].record).values["circumstances"]["failed_attempts"][0]
    assert (failure["step"], failure["error"]) == (bundle.steps[2].key, "RobustftError: no luck")


def test_steps_whose_input_was_made_again_are_run_again(bundle, stopped, plan):
    stopped(bundle)
    deleted(bundle)
    # The same bytes, but vouched for by another record, of which a kept record would not know.
    run_step(plan.step("train", "pretraining/low_standard"), log=silent)
    said: list[str] = []
    run_bundle(bundle, log=said.append)
    assert taken(said) == []
    assert ran(said) == [step.key for step in bundle.steps]
    record = read_record(plan.step("train", "pretraining/low_standard").record)
    assert read_record(bundle.steps[0].record).values["circumstances"]["vouchers"]["initial"]["sha256"] == record.sha256


def test_an_input_that_was_changed_since_is_refused_and_not_papered_over_by_what_was_kept(bundle, stopped, plan):
    stopped(bundle)
    deleted(bundle)
    path = Path(plan.step("train", "pretraining/low_standard").outputs["checkpoint"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RobustftError, match="the input 'initial' is not what its step wrote"):
        run_bundle(bundle, log=silent)


def test_steps_of_source_that_was_edited_since_are_run_again(bundle, stopped, monkeypatch):
    stopped(bundle)
    deleted(bundle)
    real = running.source_hashes
    for module in (running, bundles):
        monkeypatch.setattr(
            module, "source_hashes", lambda names: {**real(names), "pipeline/robustft/errors.py": "edited"}
        )
    said: list[str] = []
    run_bundle(bundle, log=said.append)
    assert taken(said) == []


def test_a_step_that_was_not_kept_whole_is_run_again(bundle, stopped):
    stopped(bundle)
    deleted(bundle)
    (folder,) = Path(SCRATCH).glob("bundle-*")
    kept = folder / scratch_folder(bundle.steps[1]).name
    (kept / "1").unlink()  # of the ledger and the record, the latter
    said: list[str] = []
    run_bundle(bundle, log=said.append)
    assert taken(said) == [bundle.steps[0].key]
    assert ran(said) == [step.key for step in bundle.steps[1:]]


def test_a_step_whose_kept_file_was_edited_in_place_is_run_again(bundle, stopped):
    """Kept files are links to the outputs: an edit of an output is an edit of what was kept."""
    stopped(bundle)
    path = Path(bundle.steps[0].outputs["history"])
    before = path.read_bytes()
    path.write_bytes(before.replace(b"1", b"2"))
    deleted(bundle)
    said: list[str] = []
    run_bundle(bundle, log=said.append)
    assert bundle.steps[0].key in ran(said)
    assert path.read_bytes() == before


def test_what_is_kept_survives_that_snakemake_deletes_the_outputs_themselves(bundle, stopped):
    stopped(bundle)
    before = {path: path.read_bytes() for path in files(bundle.steps[0])}
    deleted(bundle)
    (folder,) = Path(SCRATCH).glob("bundle-*")
    kept = sorted((folder / scratch_folder(bundle.steps[0]).name).iterdir())
    assert [path.read_bytes() for path in kept] == list(before.values())


def test_a_bundles_digest_tells_its_steps_and_their_order(bundle):
    others = [bundle.steps[:-1], bundle.steps[::-1], (*bundle.steps[:-1], replace(bundle.steps[-1], spec={}))]
    digests = {replace(bundle, steps=steps).digest for steps in others}
    assert len(digests) == 3
    assert bundle.digest not in digests


def test_a_bundle_of_another_configuration_takes_nothing_from_this_one(bundle, stopped, tmp_path):
    stopped(bundle)
    deleted(bundle)
    change = {"papers": {"toy": {"recipe": {"lr": 0.25}}}}
    other = Plan(toy_config.write(tmp_path / "work" / "config", scale=change)).bundle(NAME)
    said: list[str] = []
    run_bundle(other, log=said.append)
    assert taken(said) == []
    assert json.loads(Path(other.steps[0].record).read_text())["step"]["spec"]["recipe"]["lr"] == 0.25
