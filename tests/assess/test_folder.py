import pytest

from robustft.assess.folder import Folder, ledger_name
from robustft.errors import RobustftError
from robustft.files import read_json


def test_a_ledger_is_named_by_attack_and_threat():
    assert ledger_name("pgd20", "linf", "8/255") == "pgd20-linf-8_255"
    assert ledger_name("clean", "linf", "8/255") == "clean"


def test_a_folder_of_something_else_is_left_alone(copy, tmp_path):
    identity = read_json(copy / "evaluation.json")["identity"]
    Folder(copy, identity)
    with pytest.raises(RobustftError, match="another model"):
        Folder(copy, {**identity, "model": {}})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(RobustftError, match="holds something else"):
        Folder(tmp_path / "full", identity)


def test_a_damaged_ledger_is_not_taken_for_a_whole_one(copy):
    folder = Folder(copy, read_json(copy / "evaluation.json")["identity"])
    spec = read_json(copy / "ledgers" / "clean.record.json")["step"]["spec"]
    assert folder.has("clean", spec)
    assert not folder.has("clean", {**spec, "seed": 1})
    (copy / "ledgers" / "clean.parquet").write_bytes(b"PAR1")
    assert not folder.has("clean", spec)
