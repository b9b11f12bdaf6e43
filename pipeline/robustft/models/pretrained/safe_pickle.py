"""Read the tensors of untrusted pickled files without running code in them.

A pickle is a program: it names functions and calls them. torch's safe reader (`weights_only`) refuses a file that names
anything but tensors and containers. Some published files name more, such as the options of the training. For these
`read_pickle` can replace each unknown object by an inert one. A TorchScript archive contains the code of its classes.
`read_torchscript` reads its tensors in the same way and does not unpack the code.
"""

from __future__ import annotations

import io
import pickle
import struct
import types
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustft.errors import IntegrityError

BROKEN = (
    *(pickle.UnpicklingError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, AssertionError),
    *(RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, NotImplementedError),
    MemoryError,  # a stated length far beyond that of the file
)
"""The errors of reading a truncated or malicious file."""

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


class _Unpickler(pickle.Unpickler):
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
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if not inert:
            raise unreadable(path, error) from error
    except BROKEN as error:
        raise unreadable(path, error) from error
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_INERT_PICKLE)
    except BROKEN as error:
        raise unreadable(path, error) from error


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of a TorchScript archive by name, on the CPU, without running its code.

    Raises:
        IntegrityError: the file is truncated or no such archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (data,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            folder = data.removesuffix("data.pkl")

            def storage(description: tuple[Any, ...]) -> Tensor:
                _, dtype, key, _, elements = description
                content = bytearray(archive.read(f"{folder}data/{key}"))
                return torch.frombuffer(content, dtype=dtype, count=elements)

            unpickler = _Unpickler(io.BytesIO(archive.read(data)))
            unpickler.persistent_load = storage  # type: ignore[method-assign]
            return dict(_tensors(unpickler.load()))
    except BROKEN as error:
        raise unreadable(path, error) from error


def _tensors(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a scripted module and of the modules in it, named as in a state dict."""
    for name, value in module.state.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, Inert) and isinstance(value.state, dict):
            yield from _tensors(value, f"{prefix}{name}.")


def unreadable(path: Path, error: Exception) -> IntegrityError:
    """Return the error for a file that cannot be read, with the reason."""
    if isinstance(error, MemoryError):
        observed = f"a file of {path.stat().st_size} bytes that needs more memory than there is"
    else:
        lines = str(error).splitlines() or [""]
        # The rest of torch's message advises loading the file without the check.
        reason = next((line for line in lines if "GLOBAL" in line), lines[0]).strip()
        observed = f"{type(error).__name__}: {reason[:300]}"
    return IntegrityError(
        "the file of pre-trained weights cannot be read safely",
        where=path,
        expected="a complete file of tensors",
        observed=observed,
        next_step="get the file again from its publisher; no code in it was run",
    )
