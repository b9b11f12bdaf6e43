"""Running one step: check its inputs, do the work, write its record."""

from __future__ import annotations

import contextlib
import datetime
import gc
import importlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError, RobustftError
from robustft.files import PACKAGE, digest_of, read_json, remove_parts, write_json
from robustft.parallel.launcher import Launcher
from robustft.plan.sources import module_of, source_hashes, source_path
from robustft.plan.step import Step
from robustft.provenance.checkout import git_state
from robustft.provenance.environment import circumstances, environment, forget_peak
from robustft.provenance.inputs import require_unchanged, state_of, vouched_input
from robustft.provenance.installed import loaded_code, startup_files, variables
from robustft.provenance.lock import SCRATCH, held
from robustft.provenance.record import SCHEMA, file_entry
from robustft.runtime.context import Context
from robustft.source_only import from_byte_code

MEASURED = ("download", "data", "weights", "train", "attack")
"""The steps whose outputs an audit takes as they are; it makes the others again."""


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _times(started: datetime.datetime, seconds: float) -> dict[str, Any]:
    """Return when a step started and ended, and how long it took: a clock that is set meanwhile counts for nothing."""
    ended = started + datetime.timedelta(seconds=seconds)
    return {
        "started": started.isoformat(timespec="seconds"),
        "ended": ended.isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
    }


def scratch_folder(step: Step) -> Path:
    """Return the folder of a step's resume state.

    Its name has the digests of the step, of its source files and of Python and its packages, so state of another
    configuration, of other code or of another installation is never resumed.
    """
    packages = {key: value for key, value in environment().items() if key not in ("git", "image")}
    made_with = digest_of([source_hashes(step.sources()), packages, platform.machine()])
    return Path(SCRATCH) / f"{step.digest[:16]}-{made_with[:16]}"


def _code(step: Step, source: Iterable[str]) -> dict[str, Any]:
    """Return what a record says of loaded code, unless the audit makes all outputs of the step again."""
    if step.kind not in MEASURED:
        return {}
    return {"code": loaded_code({source_path(name) for name in source})}


def _require_source() -> None:
    """Raise IntegrityError if a module of this package was not compiled from the source that the record hashes."""
    if stale := from_byte_code():
        raise IntegrityError(
            "this package runs from byte code that is not its source",
            where=PACKAGE,
            expected="code that is compiled from the .py files",
            observed=", ".join(stale),
            next_step=f"delete the folders __pycache__ in {PACKAGE} and run the same command again",
        )


def _failure(path: Path) -> dict[str, Any]:
    """Return the note of an earlier, failed attempt; {} for a damaged note, which must not stop this attempt."""
    try:
        note = read_json(path)
    except RobustftError:
        return {}
    return note if isinstance(note, dict) else {}


def _attempt(scratch: Path) -> int:
    """Count this attempt in the step's scratch folder; killed attempts leave their count behind.

    One byte for each attempt: a byte cannot be half written, and needs no wait for the disk.
    """
    with open(scratch / "attempts", "ab") as counter:
        counter.write(b".")
        return counter.tell()


def _check_space(folder: Path) -> None:
    free_mb = shutil.disk_usage(folder).free / 2**20
    if free_mb < 20:
        raise RobustftError(
            "the disk is nearly full",
            where=folder,
            expected="at least 20 MB free",
            observed=f"{free_mb:.0f} MB free",
            next_step="free some space and run the same command again; finished work is kept",
        )


def work_of(step: Step) -> Callable[[dict[str, Any], Context], None]:
    """Return the function of a step, after importing all modules that the step names.

    Python's garbage collector is off during the imports, and skips the imported modules afterwards. It would visit the
    million objects of torch and timm again and again, which takes a third of the time of their import.
    """
    modules = [module_of(name) for name in (step.entry, *step.implementations)]
    if any(module not in sys.modules for module in modules):
        gc.collect()  # otherwise `freeze` keeps the garbage of an earlier step
        gc.disable()
        try:
            for module in modules:
                importlib.import_module(module)
        finally:
            gc.freeze()
            gc.enable()
    work: Callable[[dict[str, Any], Context], None] = getattr(sys.modules[modules[0]], step.entry.split(":")[1])
    return work


def launcher_of(step: Step) -> Launcher:
    """Return the launcher of this process: only a training may run on several nodes."""
    nodes = step.settings.get("nodes")
    return Launcher() if nodes is None else Launcher.of(nodes)


def run_step(step: Step, *, log: Callable[[str], None] = print) -> Path:
    """Run one step and return the path of its record. Of several starts the first one writes the record.

    A step that fails or is killed keeps its scratch folder, so the next run resumes. A step that succeeds removes it.
    Raises BusyError if another process runs the step, and does not change the folder of that process.
    """
    launcher = launcher_of(step)
    lock = (
        contextlib.nullcontext() if launcher.rank else held(step.record, what=step.key)
    )  # the first start holds the lock
    with lock:
        try:
            return _run(step, launcher, log=log)
        except Exception as error:
            if note := _write_failure(step, error):
                error.add_note(f"The step {step.key} failed; what is known about it is in {note}.")
            raise


def _run(step: Step, launcher: Launcher, *, log: Callable[[str], None]) -> Path:
    scratch = scratch_folder(step)
    scratch.mkdir(parents=True, exist_ok=True)
    _check_space(scratch)
    attempt = _attempt(scratch) if launcher.rank == 0 else 1
    forget_peak()
    git_state()  # before the work, so that git's refusal to look at this checkout costs none
    started, clock = datetime.datetime.now(datetime.UTC), time.monotonic()
    log(f"{step.key} starts" + (f" (attempt {attempt})" if attempt > 1 else ""))

    inputs, vouchers = {}, {}
    states = {role: state_of(path) for role, path in step.inputs.items() if Path(path).exists()}
    for role, path in step.inputs.items():
        inputs[role], vouchers[role] = vouched_input(role, path, step.upstream[role])
    source = source_hashes(step.sources())
    context = Context(
        inputs={role: Path(path) for role, path in step.inputs.items()},
        outputs={role: Path(path) for role, path in step.outputs.items()},
        scratch=scratch,
        settings=step.settings,
        log=log,
        launcher=launcher,
    )
    if launcher.rank == 0:
        _make_room(step, scratch)
    work_of(step)(step.spec, context)
    require_unchanged(inputs, states)
    if launcher.rank:
        return Path(step.record)
    _require_source()

    record = {
        "schema": SCHEMA,
        "step": {
            **{"kind": step.kind, "id": step.id, "spec": step.spec, "spec_sha256": digest_of(step.spec)},
            **({"origins": step.origins} if step.origins else {}),
        },
        "inputs": inputs,
        "outputs": {role: file_entry(path) for role, path in step.outputs.items()},
        "source": {"files": source, "sha256": digest_of(source)},
        "environment": {**environment(), **_code(step, source)},
        "circumstances": {
            **circumstances(),
            "startup": startup_files(),
            "variables": variables(),
            **context.facts,
            "attempt": attempt,
            "failed_attempts": [_failure(path) for path in sorted(scratch.glob("failed-*.json"))],
            **_times(started, time.monotonic() - clock),
            "vouchers": vouchers,
        },
    }
    write_json(step.record, record)
    shutil.rmtree(scratch, ignore_errors=True)
    log(f"{step.key} done in {time.monotonic() - clock:.1f} s; record {step.record}")
    return Path(step.record)


def _make_room(step: Step, scratch: Path) -> None:
    """Create the folders of a step's outputs, and remove partial files of killed processes."""
    for path in (*step.outputs.values(), step.record):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        remove_parts(path)
    for part in scratch.glob(".*.part"):
        part.unlink()


def _write_failure(step: Step, error: BaseException) -> Path | None:
    """Write a note about a failed attempt beside its resume state, and return the file's path.

    Return None if it cannot be written, for example on a full disk: the user must see the failure itself.
    """
    path = scratch_folder(step) / f"failed-{os.getpid()}.json"
    if not path.parent.exists():
        return None
    about = {
        "step": step.key,
        "digest": step.digest,
        "ended": _now(),
        "error": f"{type(error).__name__}: {error}",
        "circumstances": circumstances(),
    }
    try:
        write_json(path, about)
    except (RobustftError, OSError):
        return None
    return path
