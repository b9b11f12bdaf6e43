"""Somebody's results are read wherever they lie, and only what is under their root."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.errors import IntegrityError, RobustftError
from robustft.files import digest_of, read_json, write_json
from robustft.provenance.roots import manifest_records, root_over
from robustft.recheck.recorded import Recorded, results_folder
from tests.recheck.forged import reforge
from tests.toy_run import edit

ATTACK = "toy/main/high/at/seed0/robustness.1of1"


@pytest.mark.parametrize("named", ["results", "results/small", "."])
def test_the_folder_may_be_named_as_people_see_it(finished, named):
    assert results_folder(Path(named), "small").resolve() == Path("results").resolve()


def test_a_folder_without_results_is_an_error_that_names_what_is_expected(finished):
    with pytest.raises(RobustftError, match="no finished results of scale demo") as error:
        results_folder(Path("results"), "demo")
    assert "--scale" in str(error.value)


def test_a_folder_of_any_name_will_do(copied):
    Path("results").rename("theirs")
    recorded = Recorded(copied, results_folder(Path("theirs"), "small"))
    step = copied.step("attack", ATTACK)
    assert recorded.root == root_over(manifest_records(copied, Path("theirs")))
    assert recorded.output(step, "ledger") == Path("theirs").resolve() / step.outputs["ledger"][len("results/") :]


def test_a_record_changed_after_the_manifest_is_not_under_the_root(copied):
    step = copied.step("attack", ATTACK)
    edit(step.record, '"attempt": 1', '"attempt": 2')
    with pytest.raises(IntegrityError, match="not the one in the manifest"):
        Recorded(copied, Path("results")).record(step)


def test_a_manifest_that_lists_too_little_is_refused(copied):
    path = "results/small/toy/manifest.json"
    content = read_json(path)
    content["records"].popitem()
    write_json(path, content)
    with pytest.raises(IntegrityError):
        Recorded(copied, Path("results")).record(copied.step("attack", ATTACK))


def test_another_configuration_is_the_checkouts_fault_and_no_difference(copied):
    def other(step, record):
        record["step"]["spec"]["seed"] = 99
        record["step"]["spec_sha256"] = digest_of(record["step"]["spec"])

    reforge(copied, edit=lambda step, record: other(step, record) if step.id == ATTACK else None)
    with pytest.raises(RobustftError, match="another configuration") as error:
        Recorded(copied, Path("results")).record(copied.step("attack", ATTACK))
    assert not isinstance(error.value, IntegrityError)


def test_claims_rest_on_their_ledgers_and_on_the_trainings_behind_them(finished):
    claimed = Recorded(finished, Path("results")).claimed
    assert {f"attack:{ATTACK}", "train:toy/main/high/at/seed0", "train:pretraining/low_standard"} <= claimed
    assert "attack:toy/main/high/at/seed0/transfer.high.1of1" not in claimed
    assert not {key for key in claimed if "merged" in key}
