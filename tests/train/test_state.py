from __future__ import annotations

import math

import pytest
import torch

from robustft.train.state import load_state, save_state

STATE = {
    "model": {"weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)},
    "rows": [{"loss": 0.1 + 0.2, "epoch": 1}, {}],
    "step": 7,
    "best": {"score": [0.5, 1.0], "nothing": None, "huge": math.inf},
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "deep" / "training.state"
    save_state(path, STATE)
    return path


def silent(line: str) -> None:
    raise AssertionError(f"said without need: {line}")


def assert_state(found):
    assert list(found) == list(STATE)
    assert found["rows"] == STATE["rows"]  # floats to the last bit
    assert found["step"] == 7
    assert found["best"] == STATE["best"]
    for name, value in STATE["model"].items():
        assert torch.equal(found["model"][name], value)
        assert found["model"][name].dtype == value.dtype


def test_round_trip(path):
    assert_state(load_state(path, log=silent))


def test_a_memory_layout_survives(tmp_path):
    tensor = torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last)
    save_state(tmp_path / "s", {"x": tensor})
    found = load_state(tmp_path / "s", log=silent)["x"]
    assert torch.equal(found, tensor)
    assert found.stride() == tensor.stride()


def test_no_state_is_none_and_nothing_is_said(tmp_path):
    assert load_state(tmp_path / "none", log=silent) is None


def test_the_latest_state_replaces_the_one_before(path):
    save_state(path, {"step": 8})
    assert load_state(path, log=silent) == {"step": 8}
    assert [file.name for file in path.parent.iterdir()] == ["training.state"]  # no parts are left behind


def assert_noticed(path):
    said: list[str] = []
    assert load_state(path, log=said.append) is None
    assert len(said) == 1
    assert "damaged" in said[0]
    assert str(path) in said[0]
    assert not path.exists()
    assert path.with_suffix(".damaged").exists()  # kept to be looked at
    assert load_state(path, log=silent) is None  # and from then on the work starts again


@pytest.mark.parametrize("share", [0.0, 0.01, 0.03, 0.1, 0.5, 0.9, 1.0])  # in the head, in the body, at the end
def test_a_flipped_bit_is_noticed_and_the_file_put_aside(path, share):
    data = bytearray(path.read_bytes())
    data[round(share * (len(data) - 1))] ^= 0b100
    path.write_bytes(data)
    assert_noticed(path)


@pytest.mark.parametrize("kept", [0, 5, 30, 49, 50, 500, -1])
def test_a_truncated_file_is_noticed_and_put_aside(path, kept):
    path.write_bytes(path.read_bytes()[:kept])
    assert_noticed(path)


def test_a_file_with_something_appended_is_noticed(path):
    path.write_bytes(path.read_bytes() + b"\0")
    assert_noticed(path)


def test_after_damage_the_work_starts_again_and_can_be_stored_again(path):
    path.write_bytes(b"")
    assert load_state(path, log=lambda line: None) is None
    save_state(path, STATE)
    assert_state(load_state(path, log=silent))


def test_nothing_is_unpickled_that_could_run_code(path):
    class Harmful:
        def __reduce__(self):
            return (print, ("run while loading",))

    save_state(path, {"x": Harmful()})
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        load_state(path, log=silent)
