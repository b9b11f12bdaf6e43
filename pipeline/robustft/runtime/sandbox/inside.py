"""The confined process: it gives up its rights, calls the function, and writes down the answer."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError, RobustftError
from robustft.files import storage_error
from robustft.runtime.sandbox import kernel
from robustft.runtime.sandbox.decoding import keep_marks, reason

REQUEST, ANSWER, MARKS, NOISE = "request.json", "answer.json", "marks", "noise.txt"
"""Files of a room: what is asked, what is answered, what is being decoded, what libraries say on standard error."""

_SYSTEM = ("/usr", "/lib", "/lib64", "/nix", "/opt", "/etc/ld.so.cache", "/proc", "/sys/devices/system", "/dev/urandom")
"""What Python and its libraries read beside their own folders."""


def main(room: str) -> None:
    """Do what the request in `room` says."""
    request = json.loads(Path(room, REQUEST).read_text(encoding="ascii"))
    lines = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no line of the log
    held = _confine(request, room)
    keep_marks(Path(room, MARKS))
    try:
        answer = {"value": _call(request, log=lambda line: print(json.dumps(line), file=lines, flush=True))}
    except Exception as error:  # noqa: BLE001 - an error of any kind is an answer
        problem = _explained(error, request["reads"])
        answer = {"error": {"kind": type(problem).__name__, "text": str(problem)}}
    Path(room, ANSWER).write_text(json.dumps({**answer, "held": held}), encoding="ascii")


def _confine(request: dict[str, Any], room: str) -> list[str]:
    """Give up rights for good, and return what the kernel holds."""
    program = [*_SYSTEM, sys.prefix, sys.base_prefix, *filter(None, sys.path), *request["libraries"]]
    limits, held = request["limits"], []
    if kernel.die_with(request["parent"]):
        held.append("end of the parent")
    if kernel.leave_network():  # before any thread
        held.append("network")
    if kernel.restrict_files(readable=[*program, *request["reads"]], writable=[room, *request["writes"]]):
        held.append("files")
    if kernel.set_limits(memory_bytes=limits["memory_bytes"], file_bytes=limits["file_bytes"], cpu_s=limits["cpu_s"]):
        held.append("memory")
    return held


def _call(request: dict[str, Any], **keywords: Any) -> Any:
    module, _, name = request["function"].partition(":")
    function = functools.reduce(getattr, name.split("."), importlib.import_module(module))
    return function(**request["arguments"], **keywords)  # type: ignore[operator]


def _explained(error: Exception, reads: list[str]) -> RobustftError:
    """Return an error of ours for any error."""
    if isinstance(error, RobustftError):
        return error
    if isinstance(error, ImportError):
        return RobustftError("a package cannot be imported", observed=error, next_step="make install")
    if problem := storage_error(error, doing=" while decoding"):
        return problem
    last = traceback.extract_tb(error.__traceback__)[-1]
    return IntegrityError(
        "a file cannot be decoded",
        where=", ".join(reads),
        observed=f"{reason(error)} ({Path(last.filename).name}, line {last.lineno})",
    )
