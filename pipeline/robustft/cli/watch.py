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
from typing import Any

from robustft.cli.display import Display, duration, error_lines
from robustft.cli.progress import Progress
from robustft.cli.snakemake_events import EVENTS_FD

POLL_S = 1.0
INTERRUPTED = 130
"""The exit status of a process that Ctrl-C ends."""


def watch(arguments: Sequence[str], progress: Progress, display: Display, *, log: Path) -> int:
    """Run `snakemake` with some arguments and show its progress; return its exit status, `INTERRUPTED` after Ctrl-C.

    All that Snakemake and its jobs print goes to the file `log`.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink, display:
        process, events = _start(arguments, sink)
        watcher = Watcher(progress, display)
        interrupted = False
        while process.poll() is None or not events.empty():
            try:
                watcher.take(events)
            except KeyboardInterrupt:  # Snakemake, in the same terminal, has the signal as well
                if interrupted:
                    process.send_signal(signal.SIGTERM)
                interrupted = True
                display.say("stopping: the jobs that run save their state (once more Ctrl-C: at once)")
        watcher.take(events)
        progress.update()
    if interrupted:
        display.say("stopped; run the same command again to go on")
        return INTERRUPTED
    if process.returncode:
        watcher.explain(log)
    return process.returncode


def _start(arguments: Sequence[str], sink: Any) -> tuple[subprocess.Popen[bytes], queue.Queue[dict[str, Any]]]:
    reader, writer = os.pipe()
    command = [sys.executable, "-P", "-m", "robustft.cli.snakemake_events", *arguments]
    process = subprocess.Popen(
        command, stdout=sink, stderr=sink, pass_fds=[writer], env={**os.environ, EVENTS_FD: str(writer)}
    )
    os.close(writer)
    events: queue.Queue[dict[str, Any]] = queue.Queue()

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

    def take(self, events: queue.Queue[dict[str, Any]]) -> None:
        """Take the events that are there, after waiting for one, and show the state."""
        try:
            event = events.get(timeout=POLL_S)
            while True:
                self._take(event)
                event = events.get_nowait()
        except queue.Empty:
            pass
        for name in self._progress.update():
            self._display.say(f"{duration(self._progress.elapsed_s)}  {name} is complete")
        self._display.show(self._running.values())

    def _take(self, event: dict[str, Any]) -> None:
        job = event.get("job")
        if event["event"] == "job":
            self._jobs[event["job"]] = event
        elif event["event"] == "started":
            self._running |= {one: self._message(one) for one in event["jobs"]}
        elif event["event"] == "finished":
            self._running.pop(int(event["job"]), None)
        elif event["event"] == "failed":
            self._running.pop(int(event["job"]), None)
            self._fail(int(event["job"]))
        elif event["event"] == "error":
            self._errors.append(event["text"])
        if event["event"] == "job" and job in self._running:
            self._running[event["job"]] = self._message(event["job"])

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
