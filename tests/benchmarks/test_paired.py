"""Paired timing: who is called when, and what is counted. No test looks at how long anything took."""

from __future__ import annotations

import itertools
import sys

import pytest

from benchmarks.paired import Paired, paired, paired_processes
from benchmarks.rows import Spread
from robustft.errors import RobustftError


def test_functions_are_called_in_turn_and_the_warm_up_is_not_counted():
    calls = []
    ticks = itertools.count()
    found = paired(
        {"textbook": lambda: calls.append("t"), "ours": lambda: calls.append("o")},
        repeats=3,
        warmup=2,
        clock=lambda: float(next(ticks)),
    )
    assert "".join(calls) == "to ot to ot to".replace(" ", "")
    assert {name: len(seconds) for name, seconds in found.seconds.items()} == {"textbook": 3, "ours": 3}


def test_only_the_function_and_the_work_it_queued_are_timed():
    now = 0.0
    pending = 0.0

    def work(seconds: float) -> None:
        nonlocal pending
        pending += seconds  # queued, as on a GPU

    def wait() -> None:
        nonlocal now, pending
        now, pending = now + pending, 0.0

    def before(name: str) -> None:
        work(100.0)  # must not be counted

    sides = {"textbook": lambda: work(3.0), "ours": lambda: work(2.0)}
    found = paired(sides, repeats=2, clock=lambda: now, synchronize=wait, before=before)
    assert found.seconds == {"textbook": [3.0, 3.0], "ours": [2.0, 2.0]}


def test_the_ratio_is_the_median_of_the_pairs_ratios_not_the_ratio_of_medians():
    found = Paired({"textbook": [2.0, 10.0, 6.0], "ours": [1.0, 10.0, 2.0]})
    assert found.ratio() == Spread.of([2.0, 1.0, 3.0])
    row = found.row("g", "n", bar=1.5, predicted=1.4)
    assert (row.ratio.median, row.met, row.predicted) == (2.0, True, 1.4)
    assert (row.textbook.median, row.ours.median) == (6.0, 2.0)


def test_processes_take_turns(tmp_path):
    log = tmp_path / "log"
    write = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    commands = {name: [sys.executable, "-c", write, str(log), name[0]] for name in ("textbook", "ours")}
    found = paired_processes(commands, repeats=2, warmup=1)
    assert log.read_text() == "tootto"
    assert [len(seconds) for seconds in found.seconds.values()] == [2, 2]


def test_a_process_may_report_its_own_number():
    commands = {
        "textbook": [sys.executable, "-c", "print('said'); print(6.5)"],
        "ours": [sys.executable, "-c", "print(2)"],
    }
    found = paired_processes(commands, repeats=1, warmup=0, reported=True)
    assert found.seconds == {"textbook": [6.5], "ours": [2.0]}


@pytest.mark.parametrize(
    ("code", "message"), [("raise SystemExit('broken')", "broken"), ("print('six')", "reported no number")]
)
def test_a_process_that_fails_or_says_no_number_is_an_error(code, message):
    with pytest.raises(RobustftError, match=message):
        paired_processes({"ours": [sys.executable, "-c", code]}, repeats=1, reported=True)
