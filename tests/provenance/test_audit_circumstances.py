"""The audit of configuration, source, origins and images."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from robustft.config.load import Config
from robustft.files import digest_of
from robustft.plan import Plan
from robustft.provenance import audit_circumstances
from robustft.provenance.audit import audit
from robustft.provenance.audit_circumstances import check_configuration, check_images, check_source
from robustft.provenance.audit_files import read_records
from robustft.provenance.audit_state import AuditState
from robustft.provenance.container import expected_image
from robustft.provenance.record import Record

ROLES = Config(scale="smoke", papers=["twins"]).images


@pytest.fixture
def state(finished) -> AuditState:
    """The state after all records of a finished run are read."""
    state = AuditState(finished)
    read_records(state)
    return state


def test_an_edit_of_the_configuration_is_one_finding_for_all_its_steps(state):
    trainings = [key for key in state.records if key.startswith("train:toy/main/")]
    for key in trainings:
        record = copy.deepcopy(state.records[key])
        record.values["step"]["spec"]["recipe"]["lr"] = 7
        state.records[key] = record
    check_configuration(state)
    (finding,) = state.report.findings
    assert (finding.code, finding.subject) == ("edited-config", "recipe.lr")
    assert finding.text.startswith("recorded 7, now ")
    assert finding.text.endswith(f"(in {trainings[0]} and {len(trainings) - 1} more steps)")


def test_an_edit_of_a_source_file_is_one_finding_for_all_its_steps(state, monkeypatch):
    name, hashes = "pipeline/robustft/files.py", audit_circumstances.source_hashes
    check_source(state)
    assert not state.report.findings
    monkeypatch.setattr(audit_circumstances, "source_hashes", lambda files: hashes(files) | {name: "0"})
    check_source(state)
    (finding,) = state.report.findings
    assert (finding.code, finding.subject) == ("edited-source", name)


def test_another_source_of_a_value_is_a_note_and_no_finding(copied):
    """A better citation of the same value must not make old results void."""
    path = Path("results/small/toy/tables/main.record.json")  # the last record, which no other one quotes
    record = json.loads(path.read_text())
    record["step"]["origins"] = {"recipe.lr": ["config/papers/toy.yaml", "released", "train.sh"]}
    path.write_text(json.dumps(record))
    report = audit(copied)
    assert [finding.code for finding in report.findings] == ["changed-record"]  # the edit of the record itself
    assert "origin of recipe.lr: is gone (in table:toy/main)" in report.notes
    assert digest_of(record["step"]["spec"]) == record["step"]["spec_sha256"]


# -- images ------------------------------------------------------------------------------------------------------------


def ours(role: str = "train", **other: object) -> dict:
    """The identity of an image built from this checkout, with some entries changed."""
    return {**expected_image(role, ROLES[role]), "own_python": True, **other}


def audited(images: list, *, require: bool):
    plan = Plan(Config(scale="smoke", papers=["twins"]))
    state = AuditState(plan)
    for step, image in zip(plan.steps.values(), images, strict=False):
        state.records[step.key] = Record(step.record, "", {"environment": {"image": copy.deepcopy(image)}})
    check_images(state, required=require)
    return state.report


FOREIGN = {"name": None, "container": "docker"}


def test_the_audit_notes_each_reason_with_its_steps():
    report = audited([ours(), None, FOREIGN, ours(base="x"), None, ours("report")], require=False)
    assert report.ok
    outside, foreign, other = report.notes
    assert outside.startswith("2 of 6 steps ran outside every image of this project: ")
    assert outside.endswith("and 1 more steps")
    assert foreign.startswith("1 of 6 steps ran in a foreign container")
    assert other.startswith("1 of 6 steps ran in the image robustft-train with another base (x, here nvidia/cuda:")


@pytest.mark.parametrize("image", [None, FOREIGN, ours(base="x"), ours(lock_sha256="0"), ours(recipe_sha256="0")])
def test_required_images_make_each_of_these_a_broken_link(image):
    report = audited([ours(), image, ours("report")], require=True)
    (finding,) = report.findings
    assert finding.code == "wrong-image"
    assert not report.notes
    assert not report.ok


def test_an_image_of_a_role_that_there_is_not_is_a_broken_link():
    report = audited([{**ours(), "role": "forger"}, ours()], require=False)
    (finding,) = report.findings
    assert "whose role 'forger' is not in config/images.yaml" in finding.text


def test_required_images_that_are_all_there_are_no_finding():
    assert audited([ours(), ours("report")], require=True).ok
