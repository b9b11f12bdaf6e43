"""The verifier's folder: sources are made in it, results are linked, and nothing is written outside."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.errors import IntegrityError
from robustft.files import read_json, sha256_file
from robustft.recheck.recorded import Recorded
from robustft.recheck.workspace import Workspace

ATTACK = "toy/main/high/at/seed0/robustness.1of1"

pytestmark = pytest.mark.usefixtures("torch_settings_restored")


@pytest.fixture
def workspace(copied, tmp_path):
    """A workspace beside a copy of the results."""
    return Workspace(tmp_path / "own", Recorded(copied, Path("results")), None, log=lambda line: None)


def test_a_step_runs_with_sources_of_its_own_and_links_to_the_results(copied, workspace):
    step = copied.step("attack", ATTACK)
    record = workspace.run(step)
    assert record.output(step.outputs["ledger"])["sha256"] == sha256_file(step.outputs["ledger"])
    assert not (workspace.folder / step.inputs["data"]).is_symlink()
    assert (workspace.folder / step.inputs["checkpoint"]).readlink() == Path(step.inputs["checkpoint"]).resolve()
    assert not (workspace.folder / step.outputs["ledger"]).is_symlink()


def test_a_finished_step_is_not_run_twice_and_a_damaged_one_is(copied, workspace):
    step = copied.step("attack", ATTACK)
    first = workspace.run(step).sha256
    assert workspace.run(step).sha256 == first
    (workspace.folder / step.outputs["ledger"]).write_bytes(b"x")
    workspace.run(step)
    assert (workspace.folder / step.outputs["ledger"]).read_bytes() != b"x"


def test_a_new_checkpoint_is_kept_where_it_is_attacked(copied, workspace):
    training, step = copied.step("train", "toy/main/high/at/seed0"), copied.step("attack", ATTACK)
    workspace.source(copied.step("data", "digits"))
    room = workspace.room("trained")
    room.run(training)
    room.run(step, kept=training)
    assert not (room.folder / step.inputs["checkpoint"]).is_symlink()
    assert (room.folder / step.inputs["data"]).is_symlink(), "it is shared"


def test_ones_own_data_have_to_be_as_their_record_says(copied, workspace):
    data = copied.step("data", "digits")
    workspace.own = Path("results").resolve()
    assert workspace.source(data) == workspace.own
    workspace.made.clear()
    Path(data.outputs["data"]).write_bytes(b"x")
    with pytest.raises(IntegrityError, match="your own decoded data"):
        workspace.source(data)
    assert read_json(data.record)["step"]["kind"] == "data"
