"""Freed memory that the C library does not return to the system."""

from __future__ import annotations

import contextlib
import ctypes


def give_back_freed() -> None:
    """Return freed memory to the system, by glibc's `malloc_trim`; with another C library do nothing.

    After large tensors are freed, glibc takes blocks of up to 32 MB from its heap, between small ones that stay
    (mallopt(3)). The next tensors fit the gaps badly, and the heap grows by twice the images of each shard.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
