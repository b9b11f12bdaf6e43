"""What the commands that store and get results ask of DVC and of dvc.yaml."""

from types import SimpleNamespace

import pytest

from robustft.errors import RobustftError
from robustft.export import dvc_store


def test_the_stage_of_a_scale_is_the_one_that_has_its_results(tmp_path, monkeypatch):
    monkeypatch.setattr(dvc_store, "ROOT", tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {demo: {outs: [a, results/demo: {persist: true}]}, other: {}}")
    name, stage = dvc_store.stage_of(SimpleNamespace(scale="demo"))
    assert (name, dvc_store.outputs_of(stage)) == ("demo", ["a", "results/demo"])
    with pytest.raises(RobustftError, match=r"(?s)no stage .* has the results of scale 'paper'.*demo, other"):
        dvc_store.stage_of(SimpleNamespace(scale="paper"))


def test_without_dvc_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RobustftError, match=r"(?s)DVC is not installed.*pip install '\.\[share\]'"):
        dvc_store.remote_name("test")


def test_a_command_of_dvc_that_fails_is_an_error_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(dvc_store, "ROOT", tmp_path)
    with pytest.raises(RobustftError, match=r"(?s)dvc status failed.*do this"):
        dvc_store.dvc("status", next_step="do this")
    assert dvc_store.git("rev-parse", "no-such-name") == ""
    assert dvc_store.run("true").returncode == 0
    with pytest.raises(RobustftError, match="no default remote to test"):
        dvc_store.remote_name("test")
