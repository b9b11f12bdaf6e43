"""Tensors out of pickled files from elsewhere, without running anything that is in them.

A pickle is a program: it names functions and calls them. Two readers let it call none. torch's own (`weights_only`)
refuses a file that names anything but tensors and containers. Some published files do name more (options of the
training, saved by dill), so `read_pickle` can also put an inert object in the place of each stranger. A TorchScript
archive names classes whose code it brings along; `read_torchscript` reads its tensors by the same rule, and the code
is not even unpacked.
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
    MemoryError,  # a length far beyond the file's
)
"""What a file that is cut off or made up can raise while it is read."""

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
"""The element type of each storage that a pickle may name."""


class Inert(type):
    """Stands for whatever a pickle names that is no tensor: takes any arguments and state, and does nothing.

    Each one is a class, so that it fits wherever a pickle wants a function, a class or an object; what it is called
    for, or made of it, is another one.
    """

    state: Any = None
    """What the pickle would have restored an object from; plain values, tensors and other inert objects."""

    def __new__(mcs, *_: Any, **__: Any) -> Inert:
        """Make one out of any arguments, ignoring them."""
        return super().__new__(mcs, "Inert", (), {"__new__": lambda cls, *_, **__: Inert()})

    def __init__(cls, *_: Any, **__: Any) -> None:
        pass

    def __call__(cls, *_: Any, **__: Any) -> Inert:
        """Return another one in the place of a result or an instance."""
        return Inert()

    def __setstate__(cls, state: Any) -> None:
        """Keep the state without acting on it."""
        cls.state = state

    def __setitem__(cls, key: Any, value: Any) -> None:
        """Take an item and forget it."""

    def append(cls, value: Any) -> None:
        """Take an item and forget it."""

    def extend(cls, values: Any) -> None:
        """Take items and forget them."""


def _rebuild(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """Return a view of a storage; torch checks that it lies within."""
    if isinstance(storage, Tensor):  # from a TorchScript archive
        return storage.as_strided(size, stride, offset)
    rebuild: Any = torch._utils._rebuild_tensor_v2
    rebuilt: Tensor = rebuild(storage, offset, size, stride, False, OrderedDict())
    return rebuilt


def _parameter(data: Any, *_: Any) -> Any:
    return data


class _Called:
    """A function that a pickle may call and cannot change: the opcode BUILD would set attributes of a bare one."""

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
    ("torch._utils", "_rebuild_tensor"): _Called(_rebuild),
    ("torch._utils", "_rebuild_tensor_v2"): _Called(_rebuild),
    ("torch._utils", "_rebuild_parameter"): _Called(_parameter),
    **{("torch", name): dtype for name, dtype in DTYPES.items()},
}
"""All that a pickle can reach. Nothing is ever imported for it."""


class _Unpickler(pickle.Unpickler):
    def __setattr__(self, name: str, value: Any) -> None:
        # torch brings its own reader of persistent ids, which for the id "module" compares and writes source files.
        super().__setattr__(name, _storages_only(value) if name == "persistent_load" else value)

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return KNOWN.get((module_name, global_name)) or Inert()


def _storages_only(load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def loaded(saved: Any) -> Any:
        if not (isinstance(saved, tuple) and saved and saved[0] in ("storage", b"storage")):
            raise pickle.UnpicklingError("a pickle names something outside of it that is no storage")
        return load(saved)

    return loaded


def _load(file: Any, **_: Any) -> Any:
    return _Unpickler(file).load()


_INERT_PICKLE = types.SimpleNamespace(__name__="inert_pickle", Unpickler=_Unpickler, load=_load)
"""What torch.load is given in the place of the module `pickle`."""


def read_pickle(path: Path, *, inert: bool = False) -> Any:
    """Return what torch.save wrote, on the CPU, in either of its formats.

    Args:
        path: of the file.
        inert: replace what is neither tensor nor container by `Inert` objects, instead of refusing the file.

    Raises:
        IntegrityError: the file is cut off, is no such file, or names something that could be run (without `inert`).
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
    """Return the parameters and buffers of a TorchScript archive by name, on the CPU, its code left alone.

    Raises:
        IntegrityError: the file is cut off or is no such archive.
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
    """Return the error that says that a file could not be read, and why."""
    if isinstance(error, MemoryError):
        observed = f"one that asks for more memory than there is, and has {path.stat().st_size} bytes"
    else:
        lines = str(error).splitlines() or [""]
        # torch's message goes on to advise loading the file without the check.
        told = next((line for line in lines if "GLOBAL" in line), lines[0]).strip()
        observed = f"{type(error).__name__}: {told[:300]}"
    return IntegrityError(
        "the file of pre-trained weights cannot be read safely",
        where=path,
        expected="a file of tensors, whole",
        observed=observed,
        next_step="get the file again from its publisher; nothing in it was run",
    )
