"""Call a function of ours in a confined process, and turn whatever becomes of that process into an answer or an error.

The process is a fresh Python, not a fork: it has no memory, no threads and no variables of this one. It may read the
program and the files that it is given, and write its outputs and a folder that is removed afterwards. Answers come back
as JSON and in files, never as pickles.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustft.errors import BusyError, ConfigError, IntegrityError, RobustftError
from robustft.files import PACKAGE, ROOT
from robustft.runtime.sandbox.decoding import marks
from robustft.runtime.sandbox.inside import ANSWER, MARKS, NOISE, REQUEST

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from robustft.runtime.sandbox import inside; inside.main(sys.argv[2])"
)
_KEPT = ("OMP_", "OPENBLAS_", "MKL_", "NPY_", "ATEN_", "LD_LIBRARY_PATH")
"""Begin the variables that the process keeps: they may change which instructions compute a number."""
_ANSWER_BYTES, _LOG_BYTES = 1 << 24, 1 << 26


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the process may use."""

    memory_bytes: int
    file_bytes: int
    """Of each file that it writes."""
    cpu_s: int
    stall_s: float = 900.0
    """It must log something, begin the next member or write within so many seconds."""


def call(
    function: Callable[..., Any],
    arguments: dict[str, Any],
    *,
    reads: Iterable[Path],
    writes: Iterable[Path] = (),
    limits: Limits,
    scratch: Path,
    log: Callable[[str], None],
) -> tuple[Any, list[str]]:
    """Return what `function(**arguments, log=...)` returns in a confined process, and what the kernel held of it.

    Args:
        function: of a module; found by its name.
        arguments: of types that JSON has; so is what it returns.
        reads: the files that it may read beside the program.
        writes: the files that it may write; they exist.
        limits: what it may use.
        scratch: where its own folder is made, also for temporary files.
        log: takes its lines.

    Raises the RobustftError that the function raises, and IntegrityError, with the member that was being decoded, if
    the process dies or hangs.
    """
    reads, writes = list(reads), list(writes)
    with tempfile.TemporaryDirectory(prefix="room-", dir=scratch) as name:
        room = Path(name).absolute()
        request = {
            "function": f"{function.__module__}:{function.__qualname__}",
            "arguments": arguments,
            "reads": [os.fspath(path) for path in reads],
            "writes": [os.fspath(path) for path in writes],
            "libraries": [place for place in os.environ.get("LD_LIBRARY_PATH", "").split(":") if place],
            "limits": asdict(limits),
            "parent": os.getpid(),
        }
        (room / REQUEST).write_text(json.dumps(request), encoding="ascii")
        with _started(room) as process:
            ended = _follow(process, [room / MARKS, *writes], limits, log)
        answer = _answer(room)
        if answer is None:
            raise _death(process.returncode, room, request, limits, hung=not ended)
        if "error" in answer:
            kinds = {kind.__name__: kind for kind in (ConfigError, IntegrityError, BusyError)}
            raise kinds.get(answer["error"]["kind"], RobustftError)(answer["error"]["text"])
        return answer["value"], list(answer["held"])


@contextlib.contextmanager
def _started(room: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the process; it has ended when the block has."""
    path = list(dict.fromkeys([*filter(None, sys.path), str(PACKAGE.parent), str(ROOT)]))
    environment = {"LANG": "C.UTF-8", "HOME": str(room), "TMPDIR": str(room), "OPENBLAS_NUM_THREADS": "1"}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
    with open(room / NOISE, "wb") as noise:
        process = subprocess.Popen(
            [sys.executable, "-I", "-X", "utf8", "-c", _START, json.dumps(path), str(room)],
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": noise, "env": environment},  # type: ignore[call-overload]
        )
    with process:
        try:
            yield process
        finally:
            process.kill()


def _follow(
    process: subprocess.Popen[bytes], signs: Sequence[Path], limits: Limits, log: Callable[[str], None]
) -> bool:
    """Pass lines on until the process ends; return False if it hangs or floods the log.

    It hangs if it neither says something nor changes one of the files that are `signs` of life.
    """
    pipe, rest, received, last, seen = process.stdout, b"", 0, time.monotonic(), None
    assert pipe is not None
    while process.poll() is None or pipe is not None:
        if pipe is None:
            time.sleep(0.01)
        elif select.select([pipe], [], [], 1.0)[0]:
            data = os.read(pipe.fileno(), 1 << 16)
            pipe, last = pipe if data else None, time.monotonic()
            received += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                with contextlib.suppress(ValueError, RecursionError):
                    log(_printable(json.loads(line))[:2000])
        state = [path.stat().st_mtime_ns for path in signs if path.exists()]
        if state != seen:
            last, seen = time.monotonic(), state
        if time.monotonic() - last > limits.stall_s or received > _LOG_BYTES:
            return False
    return True


def _printable(text: object) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text))


def _answer(room: Path) -> dict[str, Any] | None:
    """Return the answer, None if there is none or it is not of its form."""
    path = room / ANSWER
    try:
        if path.is_symlink() or path.stat().st_size > _ANSWER_BYTES:
            return None
        answer: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) and "held" in answer and {"value", "error"} & set(answer) else None


def _death(status: int, room: Path, request: dict[str, Any], limits: Limits, *, hung: bool) -> IntegrityError:
    """Return the error for a process that ended without an answer."""
    found = marks(room / MARKS)
    said = (room / NOISE).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    if hung:
        end = f"it did nothing for {limits.stall_s:g} s, or filled its log"
    elif status == -signal.SIGXCPU or status == -signal.SIGKILL:
        end = f"it was killed: it takes more than {limits.cpu_s} s, or more memory than there is"
    elif status < 0:
        end = f"it crashed ({signal.Signals(-status).name})"
    else:
        end = f"it ended with status {status}"
    return IntegrityError(
        "a file from elsewhere ended the process that decoded it",
        where="; or ".join(found[:4]) or ", ".join(request["reads"]),
        expected=f"to be decoded within {limits.memory_bytes / 1e6:.0f} MB",
        observed=end + (f": {_printable(said[-1])[:200]}" if said else ""),
        next_step="compare it with its publisher's copy; nothing that it held has reached this process",
    )
