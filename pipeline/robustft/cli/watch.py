"""Run Snakemake as a child, and show its progress and its failures."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from robustft.cli.display import Display, duration, error_lines
from robustft.cli.progress import Progress
from robustft.cli.snakemake_events import EVENTS_FD

POLL_S = 1.0
INTERRUPTED = 130
"""The exit status of a process that Ctrl-C ends."""

Events: TypeAlias = "queue.Queue[dict[str, Any]]"
"""What Snakemake tells (snakemake_events.py)."""


def watch(arguments: Sequence[str], progress: Progress, display: Display, *, log: Path) -> int:
    """Run `snakemake` with some arguments and show its progress; return its exit status, `INTERRUPTED` after Ctrl-C.

    All that Snakemake and its jobs print goes to the file `log`. If this process is ended, Snakemake ends too, as soon
    as the jobs that run have ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with log.open("ab") as sink, display:
        process, events = _start(arguments, sink)
        watcher = Watcher(progress, display)
        try:
            interrupted = _follow(process, events, watcher, display)
        finally:
            if process.poll() is None:
                process.terminate()
    if interrupted:
        display.say("stopped; run the same command again to go on")
        return INTERRUPTED
    if process.returncode:
        watcher.explain(log)
    return process.returncode


def _follow(process: subprocess.Popen[bytes], events: Events, watcher: Watcher, display: Display) -> bool:
    """Show events until the process has ended, and return whether Ctrl-C ended it."""
    interrupted = False
    while True:
        try:
            ended = process.poll() is not None
            watcher.take(events)
            if ended and events.empty():
                return interrupted
        except KeyboardInterrupt:  # Snakemake, in the same terminal, has the signal as well
            interrupted = True
            display.say("stopping; what is finished is kept")


def _start(arguments: Sequence[str], sink: Any) -> tuple[subprocess.Popen[bytes], Events]:
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", "robustft.cli.snakemake_events", *arguments]
    process = subprocess.Popen(
        command, stdout=sink, stderr=sink, pass_fds=[writer], env={**os.environ, EVENTS_FD: str(writer)}
    )
    os.close(writer)
    events: Events = queue.Queue()

    def receive() -> None:
        with open(reader, encoding="utf-8") as stream:
            for line in stream:
                events.put(json.loads(line))

    threading.Thread(target=receive, daemon=True).start()
    return process, events


class Watcher:
    """Turns events into what the display shows."""

    def __init__(self, progress: Progress, display: Display) -> None:
        self._progress, self._display = progress, display
        self._jobs: dict[int, dict[str, Any]] = {}
        self._running: dict[int, str] = {}
        self._errors: list[str] = []
        self._failed = 0
        self._table_shown = False

    def take(self, events: Events) -> None:
        """Take the events that are there, after waiting for one, and show the state."""
        try:
            event = events.get(timeout=POLL_S)
            while True:
                self._take(event)
                event = events.get_nowait()
        except queue.Empty:
            pass
        done = self._progress.update()
        for step in done:
            if step.kind == "table" and not self._table_shown:
                self._table_shown = True
                self._display.table(Path(step.outputs["md"]))
        for name in dict.fromkeys(map(self._progress.share_of, done)):
            if self._progress.complete(name):
                self._display.say(f"{duration(self._progress.elapsed_s)}  {name} is complete")
        self._display.show(self._running.values())

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "started":
            self._running |= {job: self._message(job) for job in event["jobs"]}
        elif event["event"] == "error":
            self._errors.append(event["text"])
        elif event["event"] == "job":
            self._jobs[event["job"]] = event
            if event["job"] in self._running:
                self._running[event["job"]] = self._message(event["job"])
        else:
            self._running.pop(event["job"], None)
            if event["event"] == "failed":
                self._fail(event["job"])

    def _message(self, job: int) -> str:
        return str(self._jobs[job]["message"]).strip() if job in self._jobs else f"job {job}"

    def _fail(self, job: int) -> None:
        self._failed += 1
        logs = self._jobs.get(job, {}).get("log") or []
        self._display.say(f"failed: {self._message(job)}", style="bold red")
        for line in error_lines(Path(logs[0])) if logs else []:
            self._display.say(f"  {line}")
        if logs:
            self._display.say(f"  log: {logs[0]}")

    def explain(self, log: Path) -> None:
        """Say why Snakemake ended with an error."""
        if self._failed:
            self._display.say("the workflow is not complete: run the same command again when the fault is mended")
            return
        text = "\n".join(self._errors).strip() or "\n".join(error_lines(log))
        if "cannot be locked" in text:
            text = (
                "another Snakemake works in this folder, or one was killed\n"
                "  to do:    if none runs any more: robustft run -- --unlock, and then the same command again"
            )
        for line in text.splitlines()[:10]:
            self._display.say(line, style="red")
        self._display.say(f"Snakemake's own words: {log}")
