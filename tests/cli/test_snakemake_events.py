"""What the parent learns of Snakemake's events."""

from __future__ import annotations

import logging

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from robustft.cli.snakemake_events import event_of


def record(level=logging.INFO, text="text", **values):
    return logging.makeLogRecord({"levelno": level, "levelname": logging.getLevelName(level), "msg": text, **values})


@pytest.mark.parametrize(
    ("values", "event"),
    [
        (
            {"event": LogEvent.JOB_INFO, "jobid": 3, "rule_msg": "fine-tuning at", "rule_name": "train", "log": ["a"]},
            {"event": "job", "job": 3, "message": "fine-tuning at", "log": ["a"]},
        ),
        (
            {"event": LogEvent.JOB_INFO, "jobid": 3, "rule_msg": None, "rule_name": "all", "log": []},
            {"event": "job", "job": 3, "message": "all", "log": []},
        ),
        ({"event": LogEvent.JOB_STARTED, "jobs": [3, 4]}, {"event": "started", "jobs": [3, 4]}),
        ({"event": LogEvent.JOB_FINISHED, "job_id": 3}, {"event": "finished", "job": 3}),
        ({"event": LogEvent.JOB_ERROR, "jobid": 3}, {"event": "failed", "job": 3}),
        ({"event": LogEvent.PROGRESS, "done": 1, "total": 2}, None),
    ],
)
def test_an_event_of_a_job_is_passed_on(values, event):
    assert event_of(record(**values)) == event


def test_an_error_of_snakemake_itself_is_passed_on_and_its_chatter_is_not():
    assert event_of(record(logging.ERROR, "no such rule")) == {"event": "error", "text": "no such rule"}
    assert event_of(record(logging.INFO, "Building DAG of jobs...")) is None
