"""Snakemake in a process of its own that tells its parent what its jobs do: a line of JSON for each event.

Snakemake hands its events to a logger plugin. A plugin is found by the name of a package of its own, so this module
registers itself before it calls Snakemake's command line.
"""

from __future__ import annotations

import json
import os
import sys
from logging import LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

EVENTS_FD = "ROBUSTFT_EVENTS_FD"
"""The environment variable that names the open file for the events."""


def event_of(record: LogRecord) -> dict[str, Any] | None:
    """Return what the parent shows of a Snakemake event: `event`, and job, message, log or text; None if nothing."""
    event = getattr(record, "event", None)
    if event == LogEvent.JOB_INFO:
        values = vars(record)
        return {
            "event": "job",
            "job": values["jobid"],
            "message": values["rule_msg"] or values["rule_name"],
            "log": values["log"],
        }
    if event == LogEvent.JOB_STARTED:
        return {"event": "started", "jobs": list(vars(record)["jobs"])}
    if event == LogEvent.JOB_FINISHED:
        return {"event": "finished", "job": vars(record)["job_id"]}
    if event == LogEvent.JOB_ERROR:
        return {"event": "failed", "job": vars(record)["jobid"]}
    if event is None and record.levelname == "ERROR":
        return {"event": "error", "text": record.getMessage()}
    return None


class LogHandler(LogHandlerBase):
    """Writes the events to the parent's file."""

    writes_to_stream = False
    writes_to_file = False
    has_filter = True
    """Without a filter of its own the handler would get Snakemake's, which drops what `--quiet` names."""
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Open the parent's file."""
        self._stream = open(int(os.environ[EVENTS_FD]), "w", buffering=1, encoding="utf-8")  # noqa: SIM115

    def emit(self, record: LogRecord) -> None:
        """Write one event, if the parent shows it."""
        if (event := event_of(record)) is not None:
            print(json.dumps(event, default=str), file=self._stream)


def main() -> None:
    """Run Snakemake's command line with this module as a logger plugin called `robustft`."""
    from snakemake.cli import main as snakemake
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    LoggerPluginRegistry().register_plugin("robustft", sys.modules[__name__])
    snakemake([*sys.argv[1:], "--logger", "robustft"])


if __name__ == "__main__":
    main()
