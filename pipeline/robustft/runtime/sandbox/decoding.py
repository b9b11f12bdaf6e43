"""What is being decoded right now: for errors, and for the parent of a confined process that dies of it."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from robustft.errors import IntegrityError, RobustftError
from robustft.files import storage_error

_SLOT_BYTES = 1024
_slots = itertools.count()
_marker: int | None = None
"""The descriptor of the file of marks; none in a process that is not confined."""


class _Thread(threading.local):
    slot: int | None = None
    where = ""


_thread = _Thread()


@contextlib.contextmanager
def decoding(what: str, *, where: object, next_step: str | None = None) -> Iterator[None]:
    """Decode something from elsewhere in the block: any error that it raises becomes an IntegrityError.

    Decoders raise whatever they like for a damaged file. Errors of ours pass, and so does that of a full disk.

    Args:
        what: what is then said, such as "a picture cannot be decoded".
        where: the file, and the member in it.
        next_step: what the user can do.
    """
    before = _thread.where
    _mark(str(where))
    try:
        yield
    except RobustftError:
        raise
    except Exception as error:
        too_much = getattr(error, "errno", None) == errno.EFBIG  # the limit of the output of a confined process
        if not too_much and (problem := storage_error(error, doing=" while decoding", where=where)):
            raise problem from error
        raise IntegrityError(what, where=where, observed=reason(error), next_step=next_step) from error
    finally:
        _mark(before)


def reason(error: BaseException) -> str:
    """Return the kind and the first line of an error, in at most 300 characters."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is for it"
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return "it unpacks to more than its output may have"
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:300]}"


def keep_marks(path: Path) -> None:
    """Write down what every thread of this process is decoding, in a file that outlives the process."""
    global _marker
    _marker = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)


def marks(path: Path) -> list[str]:
    """Return what the threads of a process were decoding at last, each once; not an archive beside its member."""
    data = path.read_bytes() if path.exists() else b""
    slots = [data[start : start + _SLOT_BYTES] for start in range(0, len(data), _SLOT_BYTES)]
    texts = [slot.rstrip(b"\0").decode("utf-8", "replace") for slot in slots]
    found = dict.fromkeys(text for text in texts if text)
    return [text for text in found if not any(other != text and other.startswith(text) for other in found)]


def _mark(where: str) -> None:
    _thread.where = where
    if _marker is None:
        return
    if _thread.slot is None:
        _thread.slot = next(_slots)
    data = where.encode("utf-8", "backslashreplace")[:_SLOT_BYTES].ljust(_SLOT_BYTES, b"\0")
    os.pwrite(_marker, data, _thread.slot * _SLOT_BYTES)
