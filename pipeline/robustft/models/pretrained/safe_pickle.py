"""Read the tensors of untrusted pickled files without running code in them.

A pickle is a program: it names functions and calls them. torch's safe reader (`weights_only`) refuses a file that names
anything but tensors and containers. Some published files name more, such as the options of the training. For these
`read_pickle` can replace each unknown object by an inert one. A TorchScript archive contains the code of its classes.
`read_torchscript` reads its tensors in the same way and does not unpack the code.
"""

from __future__ import annotations

import io
import pickle
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustft.runtime.sandbox.decoding import decoding

UNREADABLE = "the file of pre-trained weights cannot be read safely"

DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""The element type of each storage class."""


class Inert(type):
    """Replaces all that a pickle names beside tensors: takes any arguments and state, and does nothing.

    Each inert object is a class, so that it can replace a function, a class or an instance. Calling it gives another
    inert object.
    """

    state: Any = None
    """The state of the object in the pickle: plain values, tensors and inert objects."""

    def __new__(mcs, *_: Any, **__: Any) -> Inert:
        """Return a new one and ignore the arguments."""
        return super().__new__(mcs, "Inert", (), {"__new__": lambda cls, *_, **__: Inert()})

    def __init__(cls, *_: Any, **__: Any) -> None:
        pass

    def __call__(cls, *_: Any, **__: Any) -> Inert:
        """Return another inert object as result or instance."""
        return Inert()

    def __setstate__(cls, state: Any) -> None:
        """Store the state."""
        cls.state = state

    def __setitem__(cls, key: Any, value: Any) -> None:
        """Ignore the item."""

    def append(cls, value: Any) -> None:
        """Ignore the item."""

    def extend(cls, values: Any) -> None:
        """Ignore the items."""


def _rebuild(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """Return a view of a storage; torch checks its bounds."""
    if isinstance(storage, Tensor):  # from a TorchScript archive
        return storage.as_strided(size, stride, offset)
    rebuild: Any = torch._utils._rebuild_tensor_v2
    rebuilt: Tensor = rebuild(storage, offset, size, stride, False, OrderedDict())
    return rebuilt


def _parameter(data: Any, *_: Any) -> Any:
    return data


class _Callable:
    """A function that a pickle can call but not change. The opcode BUILD can set attributes of a bare function."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a pickle tries to change a function")


KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): _Callable(_rebuild),
    ("torch._utils", "_rebuild_tensor_v2"): _Callable(_rebuild),
    ("torch._utils", "_rebuild_parameter"): _Callable(_parameter),
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}
"""All objects that a pickle can reach. Nothing is imported for it."""


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler: its memo is a dictionary. That of C is an array up to the largest index."""

    def __setattr__(self, name: str, value: Any) -> None:
        # torch sets a reader of persistent ids which, for the id "module", compares and writes source files.
        super().__setattr__(name, _storages_only(value) if name == "persistent_load" else value)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return KNOWN.get((module_name, global_name)) or Inert()


def _storages_only(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def load_storage(persistent_id: Any) -> Any:
        if not (isinstance(persistent_id, tuple) and persistent_id and persistent_id[0] in ("storage", b"storage")):
            raise pickle.UnpicklingError("a persistent id of the pickle is no storage")
        return load(persistent_id)

    return load_storage


def _load(file: Any, **_: Any) -> Any:
    return _Unpickler(file).load()


_INERT_PICKLE = types.SimpleNamespace(__name__="inert_pickle", Unpickler=_Unpickler, load=_load)
"""Replaces the module `pickle` in torch.load."""


def read_pickle(path: Path, *, inert: bool = False) -> Any:
    """Return the content of a file of torch.save, in either of its formats, on the CPU.

    Args:
        path: of the file.
        inert: replace objects that are neither tensors nor containers by `Inert` ones, instead of refusing the file.

    Raises:
        IntegrityError: the file is truncated, not of torch.save, or names code that could be run (without `inert`).
    """
    with reading(path):
        check_declared(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if not inert:
                raise pickle.UnpicklingError(_named(error)) from error
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_INERT_PICKLE)


def reading(path: Path) -> AbstractContextManager[None]:
    """Return the block in which any error of reading a file of weights becomes an IntegrityError."""
    next_step = f"get the file again from its publisher: delete {path} and run snakemake; no code in it was run"
    return decoding(UNREADABLE, where=path, next_step=next_step)


def _named(error: Exception) -> str:
    """Return the line that names what the file would run: the rest of torch's text advises to skip the check."""
    lines = str(error).splitlines() or [""]
    return next((line for line in lines if "GLOBAL" in line), lines[0]).strip()


def check_declared(path: Path) -> None:
    """Raise ValueError if the members of a zip archive say that they unpack to far more than it has.

    Archives of tensors and arrays hold weights, which hardly compress.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        declared = sum(info.file_size for info in archive.infolist())
    if declared > 4 * path.stat().st_size + (1 << 26):
        raise ValueError(f"its {path.stat().st_size} bytes say that they unpack to {declared}")


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of a TorchScript archive by name, on the CPU, without running its code.

    Raises:
        IntegrityError: the file is truncated or no such archive.
    """
    with reading(path):
        check_declared(path)
        with zipfile.ZipFile(path) as archive:
            (data,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            folder = data.removesuffix("data.pkl")

            def storage(description: tuple[Any, ...]) -> Tensor:
                _, dtype, key, _, elements = description
                content = bytearray(archive.read(f"{folder}data/{key}"))
                return torch.frombuffer(content, dtype=dtype, count=elements)

            unpickler = _Unpickler(io.BytesIO(archive.read(data)))
            unpickler.persistent_load = storage  # type: ignore[method-assign, assignment]
            return dict(_tensors(unpickler.load()))


def _tensors(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a scripted module and of the modules in it, named as in a state dict."""
    for name, value in module.state.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, Inert) and isinstance(value.state, dict):
            yield from _tensors(value, f"{prefix}{name}.")
