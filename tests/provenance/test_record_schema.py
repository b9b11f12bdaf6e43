"""The full form of a record: what a step writes has it, and whatever is of another kind is named."""

import copy
import json
from pathlib import Path

import pytest

from robustft.provenance.record_schema import fault


@pytest.fixture(scope="module")
def written(run_folder):
    """The record of a step that was run."""
    folder, plan = run_folder
    return json.loads((folder / Path(plan.of_kind("attack")[0].record)).read_text())


def test_what_a_step_writes_has_no_fault(run_folder):
    folder, plan = run_folder
    assert [fault(json.loads((folder / step.record).read_text())) for step in plan.steps.values()] == [None] * len(
        plan.steps
    )


HOSTILE = {
    "git is a text": (("environment", "git"), "x"),
    "git lacks clean": (("environment", "git"), {"commit": None}),
    "no lock": (("environment", "lock"), None),
    "not_as_locked is a number": (("environment", "lock", "not_as_locked"), 5),
    "not_as_locked holds lists": (("environment", "lock", "not_as_locked"), [[1], "a"]),
    "image is a list": (("environment", "image"), [1]),
    "image without name": (("environment", "image"), {"role": []}),
    "base of an image is a mapping": (("environment", "image"), {"name": "x", "base": {"a": 1}}),
    "another Python": (("environment", "python"), "2.7.18"),
    "vouchers is a list": (("circumstances", "vouchers"), []),
    "a voucher is a text": (("circumstances", "vouchers"), {"data": "x"}),
    "a negative duration": (("circumstances", "seconds"), -5),
    "attempt -1": (("circumstances", "attempt"), -1),
    "no time": (("circumstances", "started"), "soon"),
    "a time of no zone": (("circumstances", "ended"), "2026-01-01T00:00:00"),
    "files is a list": (("source", "files"), ["a"]),
    "an output's hash is a number": (("outputs", "ledger", "sha256"), 5),
    "an output's path is a number": (("outputs", "ledger", "path"), 5),
    "kind is a list": (("step", "kind"), []),
    "spec is a list": (("step", "spec"), [1]),
    "one more part": (("note",), "x"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_value_of_another_kind_is_a_fault(case, written):
    keys, value = HOSTILE[case]
    values = part = copy.deepcopy(written)
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    assert fault(values), case
