"""What a run shows, on a terminal and in a log."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from robustft.cli.display import Display, error_lines
from robustft.cli.progress import Share

TIME = "2026-01-01 10:00:00"
SHARES = {"twins": Share(steps=4, done=1, seconds=10, done_seconds=5), "adapt": Share(steps=2, seconds=30)}
PROGRESS = SimpleNamespace(shares=SHARES, done=1, steps=6, fraction=0.125, elapsed_s=61.0, seconds_left=lambda: 3725.0)


def shown(*, terminal: bool, jobs=("fine-tuning at on digits",), times: int = 1) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=80, height=24, color_system=None, _environ={})
    with Display(PROGRESS, console=console) as display:
        for _ in range(times):
            display.show(jobs)
    return stream.getvalue()


def test_a_terminal_shows_a_bar_for_each_paper_the_time_left_and_what_runs():
    text = shown(terminal=True)
    assert [part for part in ("twins", "50%", "1 of 4 steps") if part not in text] == []
    assert "12% of all work, 1:01 passed, about 1:02:05 left" in text
    assert "fine-tuning at on digits" in text


def test_no_line_is_wider_than_the_terminal_and_only_three_jobs_are_named():
    text = shown(terminal=True, jobs=[f"{number} " + "x" * 200 for number in range(5)])
    lines = {line for line in text.replace("\x1b", "\n").splitlines() if "x" * 20 in line}
    assert len(lines) == 3
    assert max(map(len, lines)) <= 80
    assert "and 2 more" in text


def test_a_log_gets_one_line_in_ten_seconds():
    text = shown(terminal=False, jobs=["fine-tuning at", "attacking at"], times=3)
    assert text.splitlines() == ["[1:01]  12%, 1 of 6 steps, about 1:02:05 left; fine-tuning at and 1 more"]


@pytest.mark.parametrize(
    ("lines", "shown_lines"),
    [
        ([f"{TIME} starts", f"{TIME} error: no room", f"{TIME}   to do: x"], ["error: no room", "  to do: x"]),
        ([f"{TIME} a", f"{TIME} b", "Traceback", "ValueError: c"], ["b", "Traceback", "ValueError: c"]),
        ([], []),
    ],
)
def test_of_a_failed_job_the_lines_that_matter_are_shown(tmp_path, lines, shown_lines):
    log = tmp_path / "job.log"
    log.write_text("\n".join(lines))
    assert error_lines(log) == shown_lines


def test_a_job_without_a_log_is_no_second_error(tmp_path):
    assert error_lines(tmp_path / "missing.log") == []
