"""The messages of `Progress`: how much is done, and how long the rest takes."""

from __future__ import annotations

import pytest

from robustft.runtime import context
from robustft.runtime.context import Context, Progress


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def started(tmp_path, lines, monkeypatch):
    """Return a function that makes the progress of 100 images; its clock stands at `clock["now"]`."""
    clock = {"now": 1000.0}
    monkeypatch.setattr(context.time, "monotonic", lambda: clock["now"])
    step = Context(inputs={}, outputs={}, scratch=tmp_path, log=lines.append)
    return clock, lambda **options: Progress(step, total=100, unit="image", **options)


def test_it_logs_no_more_often_than_asked_for(started, lines):
    clock, make = started
    progress = make(seconds=10)
    for done in range(1, 31):
        clock["now"] += 1
        progress.update(done)
    assert lines == ["image 10/100, about 90 s left", "image 20/100, about 80 s left", "image 30/100, about 70 s left"]


def test_the_end_is_always_logged_and_without_an_estimate(started, lines):
    _, make = started
    make(seconds=10).update(100, "loss 0.1")
    assert lines == ["image 100/100; loss 0.1"]


def test_after_a_resume_the_rate_is_that_of_this_process(started, lines):
    clock, make = started
    progress = make(seconds=10, done=50)
    clock["now"] += 20
    progress.update(60)
    assert lines == ["image 60/100, about 80 s left"]


def test_without_progress_there_is_no_estimate(started, lines):
    clock, make = started
    progress = make(seconds=10, done=50)
    clock["now"] += 20
    progress.update(50)
    assert lines == ["image 50/100"]
