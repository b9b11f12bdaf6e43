"""Dictionaries of numpy arrays, numbers and texts that Python 2 pickled, read without running code in them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from robustft.errors import IntegrityError
from robustft.runtime.sandbox.decoding import decoding


def _empty(_: Any, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return the array whose state the pickle sets next."""
    if tuple(shape) != (0,):
        raise pickle.UnpicklingError("an array of the pickle is not empty before its state is set")
    return np.ndarray(0, dtype=np.uint8)


def _dtype(name: Any, *_: Any) -> Any:
    """Return an element type that holds numbers."""
    found = np.dtype(name, copy=True)  # the pickle sets its state
    if found.kind not in "biuf":
        raise pickle.UnpicklingError(f"an array of the pickle holds no numbers but {found}")
    return found


class _Callable:
    """A function that a pickle can call but not change. The opcode BUILD can set attributes of a bare function."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a pickle tries to change a function")


KNOWN: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Callable(_empty),
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _Callable(_dtype),
}
"""All objects that a pickle can name. Nothing is imported for it."""


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler: its memo is a dictionary. That of C is an array up to the largest index."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in KNOWN:
            raise pickle.UnpicklingError(f"the pickle names {module_name}.{global_name}")
        return KNOWN[module_name, global_name]


def read_arrays(data: bytes, *, where: object) -> dict[str, Any]:
    """Return the dictionary in a pickle, its texts as str.

    Raises IntegrityError if the pickle is cut off, holds no dictionary, or names anything but arrays of numbers.
    """
    with decoding("a pickle of arrays cannot be read safely", where=where):
        content = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    if not isinstance(content, dict):
        raise IntegrityError("a pickle holds no dictionary", where=where, observed=type(content).__name__)
    return content
