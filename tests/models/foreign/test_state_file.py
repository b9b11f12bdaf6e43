import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustft.errors import IntegrityError, RobustftError
from robustft.models.foreign.state_file import read_state_file

STATE = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).state_dict()
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("content", "entry", "others"),
    [
        (STATE, "", ()),
        ({"state_dict": STATE, "epoch": 3}, "state_dict", ()),
        ({"model": OTHER, "state_dict_ema": STATE, "optimizer": {"state": {}}}, "state_dict_ema", ("model",)),
        ({"model": {"state_dict": STATE}}, "model.state_dict", ()),
        ({"ours": STATE}, "ours", ()),
    ],
)
def test_the_state_is_found_where_it_lies(tmp_path, content, entry, others):
    torch.save(content, tmp_path / "a.pt")
    found = read_state_file(tmp_path / "a.pt")
    assert equal(found.tensors, STATE)
    assert (found.entry, found.others) == (entry, others)


def test_an_entry_can_be_chosen(tmp_path):
    torch.save({"model": OTHER, "ema": STATE}, tmp_path / "a.ckpt")
    assert equal(read_state_file(tmp_path / "a.ckpt", entry="model").tensors, OTHER)
    with pytest.raises(RobustftError, match="did you mean 'model'"):
        read_state_file(tmp_path / "a.ckpt", entry="modle")


def test_safetensors_and_torchscript_are_read(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    assert equal(read_state_file(tmp_path / "a.safetensors").tensors, STATE)
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    network.load_state_dict(STATE)
    torch.jit.trace(network, torch.zeros(1, 4)).save(tmp_path / "a.pt")
    assert equal(read_state_file(tmp_path / "a.pt").tensors, STATE)


def test_a_pickled_model_is_refused_and_none_of_its_code_runs(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")
    with pytest.raises(IntegrityError, match="a whole pickled model"):
        read_state_file(tmp_path / "whole.pt")
    torch.save({"model": nn.Linear(2, 2), "epoch": 1}, tmp_path / "whole.pt")
    with pytest.raises(IntegrityError, match="pickled objects under model"):
        read_state_file(tmp_path / "whole.pt")


@pytest.mark.parametrize("name", ["none.pt", "text.pth", "cut.safetensors", "cut.pt"])
def test_a_missing_or_damaged_file_is_named(tmp_path, name):
    path = tmp_path / name
    if name == "text.pth":
        path.write_text("no weights")
    if name.startswith("cut"):
        (save_file if path.suffix == ".safetensors" else torch.save)(STATE, path)
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(IntegrityError, match=name):
        read_state_file(path)
