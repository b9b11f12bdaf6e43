"""Each limit is set in a process of its own, and tried there."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from robustft.files import PACKAGE


def told(code: str, *arguments: str) -> str:
    """Run lines in a fresh Python that has `kernel`, and return what they print."""
    start = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); from robustft.runtime.sandbox import kernel\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", start + textwrap.dedent(code), *arguments],
        **{"capture_output": True, "text": True, "timeout": 60, "check": False},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_memory_and_files_are_bounded(tmp_path):
    said = told(
        """
        kernel.set_limits(memory_bytes=200 << 20, file_bytes=1000, cpu_s=10)
        bytearray(100 << 20)
        try:
            bytearray(8 << 30)
        except MemoryError:
            print("memory")
        with open(sys.argv[1], "wb", buffering=0) as stream:
            stream.write(bytes(1000))
            try:
                stream.write(b"x")
            except OSError as error:
                print(error.strerror)
        """,
        str(tmp_path / "x"),
    )
    assert said == ("memory\n" if sys.platform == "linux" else "") + "File too large"


def test_only_what_is_allowed_can_be_read_written_and_started(tmp_path):
    (tmp_path / "private").write_text("secret", encoding="utf-8")
    (tmp_path / "room").mkdir()
    said = told(
        """
        import os, pathlib, subprocess
        folder = pathlib.Path(sys.argv[1])
        program = [sys.prefix, sys.base_prefix, "/usr", "/gone"]
        print(kernel.restrict_files(readable=program, writable=[folder / "room"]))
        (folder / "room" / "x").write_text("mine")
        read, make = lambda: (folder / "private").read_text(), lambda: (folder / "y").touch()
        for act in (read, make, lambda: os.listdir("/etc"), lambda: subprocess.run(["/bin/true"])):
            try: act(); print("done")
            except PermissionError: print("refused")
        """,
        str(tmp_path),
    ).split()
    assert (tmp_path / "room" / "x").read_text(encoding="utf-8") == "mine"
    if said[0] == "False":
        pytest.skip("this kernel has no Landlock")
    assert said[1:] == ["refused"] * 4


def test_without_a_network_not_even_this_machine_answers():
    said = told(
        """
        import socket
        print(kernel.leave_network())
        try:
            server = socket.create_server(("127.0.0.1", 0))
            socket.create_connection(server.getsockname(), 1)
            print("reached")
        except OSError:
            print("no network")
        """
    ).split("\n")
    if said[0] == "False":
        pytest.skip("this kernel gives no network of its own")
    assert said[1] == "no network"


def test_it_ends_with_its_parent():
    said = told(
        """
        import os, signal, time
        ready, tell = os.pipe(); alive, held = os.pipe()
        middle = os.fork()
        if not middle:
            parent = os.getpid()
            if not os.fork():
                print(kernel.die_with(parent), flush=True)
                os.write(tell, b"x"); time.sleep(60)
            time.sleep(60)
        os.close(held)
        os.read(ready, 1); os.kill(middle, signal.SIGKILL); os.waitpid(middle, 0)
        print(os.read(alive, 1) == b"")  # closed by every process
        """
    ).split()
    if said[0] == "False":
        pytest.skip("this system has no signal for it")
    assert said[1] == "True"
