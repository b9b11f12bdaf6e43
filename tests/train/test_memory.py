from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from pipeline.train.memory import give_back_freed

BLOCK, BLOCKS = 64 << 10, 1000
"""Blocks that glibc serves from its heap, 62 MB of them."""


def held_mb() -> float:
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.split("RssAnon:", 1)[1].split()[0]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has another heap")
def test_freed_blocks_between_small_ones_that_stay_go_back_to_the_system():
    give_back_freed()
    mixed = [[bytearray(BLOCK), bytearray(600)] for _ in range(BLOCKS)]
    small = [pair[1] for pair in mixed]
    full = held_mb()
    mixed.clear()
    give_back_freed()
    assert full - held_mb() > 0.8 * BLOCKS * BLOCK / 2**20
    assert len(small) == BLOCKS


def test_a_c_library_without_it_is_no_error(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    give_back_freed()
