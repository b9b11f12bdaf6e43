from __future__ import annotations

import ctypes
import platform
import subprocess
import sys

import pytest

from robustft.files import ROOT
from robustft.runtime.memory import give_back_freed

BLOCK, BLOCKS = 64 << 10, 1000
"""Blocks that glibc serves from its heap, 62 MB of them."""
CODE = f"""
from pathlib import Path
from robustft.runtime.memory import give_back_freed

def held():
    return int(Path("/proc/self/status").read_text(encoding="ascii").split("RssAnon:", 1)[1].split()[0]) / 1024

give_back_freed()
mixed = [[bytearray({BLOCK}), bytearray(600)] for _ in range({BLOCKS})]
small = [pair[1] for pair in mixed]
full = held()
mixed.clear()
freed = full - held()
give_back_freed()
assert len(small) == {BLOCKS}
print(freed, full - held())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has another heap")
def test_freed_blocks_between_small_ones_that_stay_go_back_to_the_system():
    """In a process of its own: how much comes back of a heap depends on what was done with it before."""
    said = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    by_itself, given_back = map(float, said.stdout.split())
    assert by_itself < 0.2 * BLOCKS * BLOCK / 2**20  # else there is nothing to test
    assert given_back > 0.8 * BLOCKS * BLOCK / 2**20


def test_a_c_library_without_it_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back_freed()
