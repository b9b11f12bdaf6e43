"""Memory that the C library keeps."""

from __future__ import annotations

import contextlib
import ctypes


def give_back_freed() -> None:
    """Give freed memory back to the system, where the C library can (glibc's `malloc_trim`, mallopt(3)); else nothing.

    After some large tensors were freed, glibc keeps blocks of up to 32 MB in its heap, between small ones that stay:
    the gaps that are left fit the next tensors badly, and the heap grows with every shard, by twice its images.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
