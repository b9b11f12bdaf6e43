"""A recheck of a whole small run: honest results agree, forged ones are named though every hash fits."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from robustft.errors import RobustftError
from robustft.files import sha256_files
from robustft.provenance.rechecked import learned, mismatches
from robustft.recheck import Limits, recheck
from robustft.recheck.recorded import Recorded
from tests.recheck.forged import all_correct, reforge
from tests.toy_run import findings

RUN = "toy/main/high/at/seed0"
LEDGER = f"results/small/{RUN}/robustness.1of1.ledger.parquet"
ALL = Limits(ledgers=100)

pytestmark = pytest.mark.usefixtures("torch_settings_restored")


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Recheck the results in the current folder from another one, and return the predicate of the statement."""

    def run(plan, limits=ALL, *, seed="1", **more):
        before, folder = Path.cwd(), tmp_path / "verifier"
        folder.mkdir(exist_ok=True)
        recorded = Recorded(plan, before / "results")
        monkeypatch.chdir(folder)
        try:
            return recheck(plan, recorded, seed=seed, limits=limits, log=lambda line: None, **more)["predicate"]
        finally:
            monkeypatch.chdir(before)

    return run


def test_honest_results_agree_byte_for_byte_and_are_not_touched(finished, check, tmp_path):
    files = [str(path) for path in Path("results").rglob("*") if path.is_file()]
    before = sha256_files(files)
    said = check(finished, Limits(ledgers=100, trainings=2))
    assert {one["status"] for part in ("sources", "ledgers", "trainings") for one in said[part]["checked"]} == {
        "identical"
    }
    assert len(said["ledgers"]["checked"]) == len(finished.of_kind("attack"))
    assert said["ledgers"]["would_show"]["all"] == 1
    assert sha256_files(files) == before
    assert sorted(str(path) for path in Path("results").rglob("*") if path.is_file()) == sorted(files)
    assert not list((tmp_path / "verifier" / "scratch").glob("recheck-*"))


def test_a_forged_ledger_whose_hashes_all_fit_is_named_with_its_images(copied, check):
    """The audit passes: it cannot know that the outcomes were never measured."""
    all_correct(LEDGER)
    reforge(copied)
    assert findings(copied) == []
    said = check(copied)
    assert mismatches(said) == [f"attack:{RUN}/robustness.1of1"]
    (forged,) = (one for one in said["ledgers"]["checked"] if one["status"] == "differs")
    assert any("image " in text and "recorded" in text and "run again" in text for text in forged["differences"])
    assert "1 differ from what was recorded" in learned(said)[-1]


def test_a_false_machine_in_the_records_does_not_excuse_a_forged_ledger(copied, check):
    def elsewhere(step, record):
        record["circumstances"] |= {"processor": "Abacus", "host": "dgx"}

    all_correct(LEDGER)
    reforge(copied, edit=elsewhere)
    said = check(copied)
    (forged,) = (one for one in said["ledgers"]["checked"] if one["status"] == "differs")
    assert forged["other"] == ["processor"]


def test_checks_of_the_model_that_were_removed_are_named(copied, check):
    import pyarrow.parquet as pq

    table = pq.read_table(LEDGER)
    pq.write_table(table.replace_schema_metadata({"robustft": '{"clean":{},"fgsm":{},"model":{}}'}), LEDGER)
    reforge(copied)
    assert any("checks of model" in text for one in check(copied)["ledgers"]["checked"] for text in one["differences"])


def test_edited_data_are_found_by_decoding_the_source_again(copied, check):
    """Test images exchanged for training images: the audit hashes the source, not whether decoding gives these."""
    path = copied.step("data", "digits").outputs["data"]
    with safe_open(path, framework="np") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
    name = next(name for name, tensor in tensors.items() if tensor.ndim > 2)
    tensors[name] = np.ascontiguousarray(tensors[name][::-1])
    save_file(tensors, path, metadata=about)
    reforge(copied)
    said = check(copied, Limits(ledgers=1))
    assert [one["status"] for one in said["sources"]["checked"]] == ["differs"]
    assert "data:digits" in mismatches(said)


def test_a_checkpoint_that_no_training_gave_is_named_by_training_again(copied, check):
    ours, theirs = (Path(f"results/small/{RUN[:-1]}{seed}/checkpoint.safetensors") for seed in (0, 1))
    shutil.copyfile(theirs, ours)
    for attack in ("robustness.1of1",):
        shutil.copyfile(theirs.with_name(f"{attack}.ledger.parquet"), ours.with_name(f"{attack}.ledger.parquet"))
    reforge(copied)
    said = check(copied, Limits(ledgers=0, trainings=100))
    assert f"train:{RUN}" in mismatches(said)


def test_a_file_that_is_not_under_the_root_is_a_difference_and_not_run(copied, check):
    Path(LEDGER).write_bytes(b"damaged")
    said = check(copied)
    (found,) = (one for one in said["ledgers"]["checked"] if one["status"] == "differs")
    assert "not what its record says" in found["differences"][0]


def test_an_interrupted_recheck_goes_on_and_decides_the_same(finished, check, monkeypatch):
    from robustft.recheck import workspace

    run, ran = workspace.run_step, []

    def dying(step, **more):
        ran.append(step.key)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return run(step, **more)

    monkeypatch.setattr(workspace, "run_step", dying)
    with pytest.raises(KeyboardInterrupt):
        check(finished, Limits(ledgers=3))
    said = check(finished, Limits(ledgers=3))
    assert {one["status"] for one in said["ledgers"]["checked"]} == {"identical"}
    assert len(ran) == 5, "the source and the first ledger are not made twice"


def test_ones_own_decoded_data_are_used_after_comparing_them(finished, check, monkeypatch):
    from robustft.recheck import workspace

    run, ran = workspace.run_step, []
    monkeypatch.setattr(workspace, "run_step", lambda step, **more: (ran.append(step.kind), run(step, **more)))
    said = check(finished, Limits(ledgers=1), own=Path("results").resolve())
    assert ran == ["attack"]
    assert said["sources"]["checked"][0]["status"] == "identical"


def test_a_budget_chooses_how_many_and_not_which(finished, check):
    few, more = (check(finished, Limits(budget_s=budget)) for budget in (9, 10_000))
    names = [[one["step"] for one in said["ledgers"]["checked"]] for said in (few, more)]
    assert len(names[0]) < len(names[1]) == len(finished.of_kind("attack"))
    assert set(names[0]) < set(names[1])
    with pytest.raises(RobustftError, match="does not allow one ledger"):
        check(finished, Limits(budget_s=1))


def test_a_nonce_and_a_root_give_the_same_draw_again(finished, check):
    one, two, three = (check(finished, Limits(ledgers=4), seed=seed) for seed in ("a", "a", "b"))
    names = [[entry["step"] for entry in said["ledgers"]["checked"]] for said in (one, two, three)]
    assert names[0] == names[1] != names[2]
