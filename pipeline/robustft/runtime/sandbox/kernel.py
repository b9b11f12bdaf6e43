"""What the kernel takes from a process for good: memory, time, the network, files. Each function says whether it held.

No package does this: there are bindings for Landlock alone and for seccomp alone. It is Linux by ctypes. Elsewhere only
the limits of POSIX hold, and the process is a separate one, nothing more.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

_SET_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38
"""Options of prctl(2)."""
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
"""Flags of unshare(2)."""
_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Landlock's system calls, with the same numbers on every architecture."""
_EXECUTE, _WRITE, _READ, _LIST, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_CHANGE_FOLDER = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8
"""Remove folders and files in a folder, and make them there."""


_STACK_BYTES = 8 << 20
"""Of a thread, by default."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def set_limits(*, memory_bytes: int, file_bytes: int, cpu_s: int) -> bool:
    """Bound what the process may fill of memory, each file that it writes, and its processor time.

    RLIMIT_DATA counts private writable pages alone. RLIMIT_AS would also count mapped libraries: torch's alone are tens
    of GB in some builds. Stacks of threads count, and libraries start as many as there are cores: room for these is
    added. On Linux before 4.7 and on other systems RLIMIT_DATA leaves out most of the memory.
    """
    for kind, limit in (
        (resource.RLIMIT_DATA, memory_bytes + _STACK_BYTES * (os.cpu_count() or 1)),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (bound, bound))
    return sys.platform == "linux"


def die_with(parent: int) -> bool:
    """Let the kernel kill this process when its parent ends, however it ends."""
    held = sys.platform == "linux" and _libc().prctl(_SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) == 0
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)
    return held


def leave_network() -> bool:
    """Move this process, of one thread so far, into a network of its own without any interface.

    It takes root, or a kernel that allows a user namespace to everybody. Containers often allow neither.
    """
    if sys.platform != "linux":
        return False
    return any(_libc().unshare(flags) == 0 for flags in (_NEW_NETWORK, _NEW_USER | _NEW_NETWORK))


def restrict_files(*, readable: Iterable[str | Path], writable: Iterable[str | Path]) -> bool:
    """Leave this process these files and folders only; it can start no program, and reach no server by TCP.

    `writable` ones are also readable. Landlock does it: Linux 5.13, TCP from 6.7 on, if it is not switched off. See
    landlock(7). Paths that do not exist are left out.
    """
    version = _libc().syscall(_CREATE, None, ctypes.c_size_t(0), 1) if sys.platform == "linux" else 0
    if version < 1:
        return False
    files = (1 << 13) - 1
    for since, right in ((2, 1 << 13), (3, _TRUNCATE), (5, 1 << 15)):
        files |= right if version >= since else 0
    ruleset = _Ruleset(files, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    handle = _libc().syscall(_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(ctypes.sizeof(ruleset)), 0)
    for path in readable:
        _allow(handle, path, _READ | _LIST)
    for path in writable:
        _allow(handle, path, (_READ | _LIST | _WRITE | _TRUNCATE | _CHANGE_FOLDER) & files)
    libc = _libc()
    held = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(_RESTRICT, handle, 0) == 0
    os.close(handle)
    return held


def _allow(ruleset: int, path: str | Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    of_a_file = _EXECUTE | _WRITE | _READ | _TRUNCATE
    rule = _Rule(rights if Path(path).is_dir() else rights & of_a_file, place)
    _libc().syscall(_ADD, ruleset, 1, ctypes.byref(rule), 0)
    os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
