"""Reading pickled tensors: whatever else a file holds, nothing of it runs."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from robustft.errors import IntegrityError
from robustft.models.pretrained.safe_pickle import Inert, read_pickle, read_torchscript
from robustft.provenance.environment import peak_memory_mb

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:'torch.load' received a zip file")


class Hostile:
    """Unpickled as usual, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Options:
    """What a training library keeps beside the weights: an object of a class that need not exist here."""

    def __init__(self) -> None:
        self.lr, self.on_end = 0.1, print


class Stateful:
    """Restored by a method of its own class."""

    restored: list = []  # noqa: RUF012

    def __getstate__(self):
        return {"a": 1}

    def __setstate__(self, state):
        self.restored.append(state)


def save(content, path: Path, *, zipped: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


both_formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


@both_formats
@pytest.mark.parametrize("inert", [True, False])
def test_tensors_arrive_as_they_were_saved(tmp_path, zipped, inert):
    shared = torch.arange(6.0).view(2, 3)
    content = {
        "state": OrderedDict(a=shared, t=shared.T, half=torch.ones(2).half(), n=torch.tensor(7)),
        "parameter": nn.Parameter(torch.ones(2)),
        "epoch": 3,
    }
    read = read_pickle(save(content, tmp_path / "f", zipped=zipped), inert=inert)
    assert list(read) == list(content)
    assert read["epoch"] == 3
    for name, tensor in content["state"].items():
        assert torch.equal(read["state"][name], tensor)
        assert read["state"][name].dtype == tensor.dtype
    assert torch.equal(read["parameter"], torch.ones(2))


@both_formats
def test_a_file_that_names_something_to_run_is_refused(tmp_path, zipped):
    made = tmp_path / "made"
    path = save({"a": torch.ones(2), "b": Hostile(made)}, tmp_path / "f", zipped=zipped)
    with pytest.raises(IntegrityError, match="cannot be read safely") as error:
        read_pickle(path)
    assert "mkdir" in str(error.value)  # what it would have called is named
    assert "weights_only" not in str(error.value).lower().replace("unpicklingerror: weights only", "")  # no bad advice
    assert not made.exists()


@both_formats
def test_a_stranger_becomes_inert_and_its_tensors_neighbours_arrive(tmp_path, zipped):
    made = tmp_path / "made"
    content = {"b": Hostile(made), "o": Options(), "s": Stateful(), "f": os.system, "a": torch.arange(3.0)}
    path = save(content, tmp_path / "f", zipped=zipped)
    Stateful.restored.clear()
    read = read_pickle(path, inert=True)
    assert not made.exists()
    assert Stateful.restored == []
    assert torch.equal(read["a"], torch.arange(3.0))
    assert isinstance(read["b"], Inert)
    assert isinstance(read["f"], Inert)
    assert read["o"].state["lr"] == 0.1
    assert isinstance(read["o"].state["on_end"], Inert)
    # The same files do run under Python's own pickle, so the two tests above can fail.
    torch.load(path, weights_only=False)
    assert made.exists()
    assert Stateful.restored


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'mkdir %s'\ntR.",  # call a function
        b"\x80\x02cbuiltins\neval\nX\x08\x00\x00\x00__name__\x85R.",
        b"(S'mkdir %s'\nios\nsystem\n.",  # call it by the opcode INST
        b"(cos\nsystem\nS'mkdir %s'\no.",  # by the opcode OBJ
        b"\x80\x02cos\nsystem\n(S'mkdir %s'\nt\x81.",  # by NEWOBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",  # by a name that is put together
        b"\x80\x02cdill._dill\n_create_type\n(S'mkdir %s'\ntR)\x81}X\x01\x00\x00\x00aK\x01sb.",  # of a class made here
    ],
)
def test_no_opcode_of_a_pickle_reaches_a_function(tmp_path, program):
    made = tmp_path / "made"
    path = tmp_path / "f"
    program = program.replace(b"%s", str(made).encode())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("f/data.pkl", program)
        archive.writestr("f/version", "3\n")
        archive.writestr("f/byteorder", "little")
    with pytest.raises(IntegrityError):
        read_pickle(path)
    assert isinstance(read_pickle(path, inert=True), Inert)
    assert not made.exists()


def legacy(path, program: bytes):
    """Write a file in torch's oldest format around a pickle."""
    with open(path, "wb") as stream:
        sizes = {"short": 2, "int": 4, "long": 4}
        head = {"protocol_version": PROTOCOL_VERSION, "little_endian": True, "type_sizes": sizes}
        for part in (MAGIC_NUMBER, PROTOCOL_VERSION, head):
            pickle.dump(part, stream, 2)
        stream.write(program)
        pickle.dump([], stream, 2)


STRANGER = b"\x80\x02csome\nstranger\n0"  # makes torch refuse the file, so that the inert reader takes over
FUNCTION = b"ctorch._utils\n_rebuild_tensor_v2\n"


def test_no_function_that_a_pickle_may_call_can_be_changed_by_it(tmp_path):
    legacy(tmp_path / "f", STRANGER + FUNCTION + b"N}X\x0c\x00\x00\x00dump_patches\x88s\x86b.")
    with pytest.raises(IntegrityError, match="tries to change a function"):
        read_pickle(tmp_path / "f", inert=True)


def test_the_old_formats_source_check_which_writes_files_is_never_reached(tmp_path):
    """torch compares the source of a persistent id "module" and writes the difference where the class's name says."""
    source = b"(X\x06\x00\x00\x00module" + FUNCTION + b"X\x01\x00\x00\x00xX\x01\x00\x00\x00ytQ."
    legacy(tmp_path / "f", STRANGER + source)
    with pytest.raises(IntegrityError, match="no storage"):
        read_pickle(tmp_path / "f", inert=True)


def test_no_class_can_be_changed_by_a_pickle(tmp_path):
    """The opcode BUILD sets attributes of whatever is on the stack, classes too."""

    def read(target):
        with zipfile.ZipFile(tmp_path / "f", "w") as archive:
            archive.writestr("f/data.pkl", b"\x80\x02" + target + b"}X\x05\x00\x00\x00spoilK\x01sb.")
            archive.writestr("f/version", "3\n")
            archive.writestr("f/byteorder", "little")
        return read_pickle(tmp_path / "f", inert=True)

    with pytest.raises(IntegrityError, match="TypeError"):
        read(b"ccollections\nOrderedDict\n")
    stranger = read(b"crobustft.models.pretrained.safe_pickle\nInert\n")
    assert stranger.state == {"spoil": 1}  # kept with this one stranger
    assert stranger is not Inert
    assert not hasattr(Inert, "spoil")
    assert Inert.state is None


@both_formats
@pytest.mark.parametrize("inert", [True, False])
def test_a_file_cut_anywhere_is_an_integrity_error(tmp_path, zipped, inert):
    path = save({"a": torch.arange(500.0), "o": "text"}, tmp_path / "f", zipped=zipped)
    whole = path.read_bytes()
    for kept in (0, 1, 10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(IntegrityError, match="cannot be read safely") as error:
            read_pickle(path, inert=inert)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("content", [b"<!doctype html><html>not found</html>", pickle.dumps([1, 2])])
def test_a_file_of_another_kind_is_an_integrity_error(tmp_path, content):
    path = tmp_path / "f"
    path.write_bytes(content)
    for read in (read_pickle, lambda file: read_pickle(file, inert=True), read_torchscript):
        with pytest.raises(IntegrityError, match="cannot be read safely"):
            read(path)
    with pytest.raises(IntegrityError, match="FileNotFoundError"):
        read_pickle(tmp_path / "none")


# -- TorchScript ---------------------------------------------------------------------------------------------------


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3).half()
        self.register_buffer("resolution", torch.tensor(224))
        self.sizes = [1, 2]

    def forward(self, x):
        return self.linear(x) * self.sizes[0]


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = Inner(), nn.LayerNorm(3)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.shared = nn.Parameter(torch.arange(6.0).view(2, 3).T)

    def forward(self, x):
        return self.norm(self.inner(x).float()) * self.scale


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
def test_an_archive_of_torchscript_gives_the_state_that_torch_itself_reads(tmp_path):
    torch.jit.script(Outer()).save(str(tmp_path / "f.pt"))
    expected = torch.jit.load(str(tmp_path / "f.pt")).state_dict()
    read = read_torchscript(tmp_path / "f.pt")
    assert set(read) == set(expected) == set(Outer().state_dict())
    for name, tensor in expected.items():
        assert torch.equal(read[name], tensor), name
        assert read[name].dtype == tensor.dtype
    with pytest.raises(IntegrityError, match="TorchScript"):  # the other reader would have to run it
        read_pickle(tmp_path / "f.pt", inert=True)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
def test_an_archive_of_torchscript_is_not_run(tmp_path, monkeypatch):
    torch.jit.script(Outer()).save(str(tmp_path / "f.pt"))
    made = tmp_path / "made"
    with zipfile.ZipFile(tmp_path / "f.pt") as old, zipfile.ZipFile(tmp_path / "g.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("/data.pkl"):  # a stranger in the dictionary of attributes, before everything else
                call = b"X\x01\x00\x00\x00z" + b"cos\nmkdir\n(S'" + str(made).encode() + b"'\ntR"
                content = content.replace(b"}q\x01(", b"}q\x01(" + call, 1) if b"}q\x01(" in content else content
                content = content if b"mkdir" in content else content.replace(b"}(", b"}(" + call, 1)
                assert b"mkdir" in content
            new.writestr(name, content)
    monkeypatch.setattr(torch.jit, "load", None)
    assert set(read_torchscript(tmp_path / "g.pt")) == set(Outer().state_dict())
    assert not made.exists()


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
def test_a_view_that_leaves_its_storage_is_an_integrity_error(tmp_path):
    torch.jit.script(Outer()).save(str(tmp_path / "f.pt"))
    with zipfile.ZipFile(tmp_path / "f.pt") as old, zipfile.ZipFile(tmp_path / "g.pt", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:2] if name.endswith("/data/0") else content)
    with pytest.raises(IntegrityError, match="cannot be read safely"):
        read_torchscript(tmp_path / "g.pt")


@pytest.mark.parametrize("program", [b"\x80\x04\x95" + (1 << 62).to_bytes(8, "little") + b".", None])
def test_a_length_beyond_all_memory_is_an_integrity_error(tmp_path, monkeypatch, program):
    """It was a traceback of MemoryError."""
    path = tmp_path / "huge.pt"
    if program is None:  # whatever the reader asks for

        def greedy(*_, **__):
            raise MemoryError

        monkeypatch.setattr(torch, "load", greedy)
        program = b"\x80\x04."
    path.write_bytes(program)
    with pytest.raises(IntegrityError, match="needs more memory than there is"):
        read_pickle(path, inert=True)


def test_a_large_index_of_the_memo_takes_no_memory(tmp_path):
    """343 bytes took 2 GB: C's unpickler makes an array up to the largest index."""
    program = STRANGER + b"}r" + (1 << 28).to_bytes(4, "little") + b"."
    with zipfile.ZipFile(tmp_path / "f", "w") as archive:
        for name, data in (("data.pkl", program), ("version", "3\n"), ("byteorder", "little")):
            archive.writestr(f"f/{name}", data)
    before = peak_memory_mb()
    assert read_pickle(tmp_path / "f", inert=True) == {}
    assert peak_memory_mb() < before + 200


def test_an_archive_that_unpacks_to_far_more_than_it_has_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "f", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("f/data.pkl", b"\x80\x02}.")
        archive.writestr("f/data/0", bytes(100 << 20))
    for read in (read_pickle, read_torchscript):
        with pytest.raises(IntegrityError, match="bytes say that they unpack to 10485"):
            read(tmp_path / "f")
