"""What the confined process is made to do in tests. Nothing here is imported outside of it but for its name."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from robustft.errors import ConfigError
from robustft.runtime.sandbox.decoding import decoding


def answers(text, log):
    log("begins")
    os.write(1, b"a library talks\n")
    return {"text": text, "argv": len(sys.argv)}


def refuses(log):
    raise ConfigError("no", where="x", expected=1)


def is_buggy(log):
    return [].pop()


def crashes(log):
    with decoding("a picture cannot be decoded", where="archive.tar"), decoding("x", where="archive.tar: member.jpg"):
        ctypes.string_at(0)


def fills(megabytes, log):
    with decoding("a picture cannot be decoded", where="archive.tar: member.jpg"):
        return len(bytearray(megabytes << 20))


def sleeps(log):
    with decoding("x", where="slow.jpg"):
        time.sleep(60)


def computes(log):
    with decoding("x", where="endless.jpg"):
        while True:
            pass


def writes(path, size, log):
    with decoding("an archive is cut off or damaged", where="bomb.gz"):
        Path(path).write_bytes(bytes(size))


def tries(private, output, log):
    """Return what of the things that it must not do worked."""
    worked = []
    for name, act in {
        "read": lambda: Path(private).read_bytes(),
        "write": lambda: Path(private).write_text("x"),
        "make": lambda: Path(private).with_name("made").touch(),
        "run": lambda: subprocess.run(["/bin/true"], check=True),
        "connect": lambda: socket.create_connection(("127.0.0.1", 1), timeout=1),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    }.items():
        try:
            act()
        except ConnectionRefusedError:  # there is a network, and nobody at that port
            worked.append(name)
        except OSError:
            continue
        else:
            worked.append(name)
    Path(output).write_text("mine", encoding="utf-8")
    return {"worked": worked, "variables": sorted(os.environ)}


def load_and_crash(source, files):
    crashes(print)
