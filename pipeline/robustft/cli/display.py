"""What `robustft run` shows: a bar for each paper on a terminal that can move its cursor, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from robustft.cli.progress import Progress
from robustft.cli.terminal_table import read_table

LINE_EVERY_S = 10.0
"""Between two lines where nothing can be drawn over."""

SHOWN_JOBS = 3
ERROR_LINES = 8


def duration(seconds: float) -> str:
    """Return minutes and seconds, or hours, minutes and seconds.

    >>> duration(221), duration(3 * 3600 + 61)
    ('3:41', '3:01:01')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def left(progress: Progress) -> str:
    """Return the estimated time left in words."""
    seconds = progress.seconds_left()
    return "time left not known yet" if seconds is None else f"about {duration(seconds)} left"


def error_lines(log: Path) -> list[str]:
    """Return the last error that a job wrote to its log, without the time of each line; else the log's last lines."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    texts = [line[20:] if line[:4].isdigit() and line[4:5] == "-" else line for line in lines]
    starts = [number for number, text in enumerate(texts) if text.startswith("error: ")]
    return (texts[starts[-1] :] if starts else texts[-3:])[:ERROR_LINES]


class Display:
    """Shows the progress of one run. `say` prints a line that stays, `show` the state that changes."""

    def __init__(self, progress: Progress, *, console: Console | None = None) -> None:
        self._progress = progress
        self.console = console or Console(file=sys.stderr, highlight=False, soft_wrap=False)
        self._live = Live(console=self.console, auto_refresh=False, transient=True) if self.moves else None
        self._printed_at = float("-inf")

    @property
    def moves(self) -> bool:
        """Whether the terminal can move its cursor."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    def __enter__(self) -> Display:
        """Begin to draw."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal as it was."""
        if self._live:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        self.console.print(Text(text, style=style), soft_wrap=not self.moves)

    def table(self, path: Path) -> None:
        """Print a table of the results."""
        self.say("")
        self.console.print(read_table(path).rendered(notes=False))
        self.say(f"({path} has its notes)\n")

    def show(self, jobs: Iterable[str]) -> None:
        """Show how far the run is, and the jobs that run now."""
        messages = list(jobs)
        if self._live:
            self._live.update(self._picture(messages), refresh=True)
        elif time.monotonic() - self._printed_at >= LINE_EVERY_S:
            self._printed_at = time.monotonic()
            self.say(self._line(messages))

    def _line(self, messages: list[str]) -> str:
        progress = self._progress
        now = f"; {messages[0]}" if messages else ""
        more = f" and {len(messages) - 1} more" if len(messages) > 1 else ""
        steps = f"{progress.done} of {progress.steps} steps"
        passed = duration(progress.elapsed_s)
        return f"[{passed}] {progress.fraction:4.0%}, {steps}, {left(progress)}{now}{more}"

    def _picture(self, messages: list[str]) -> RenderableType:
        progress = self._progress
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(width=24)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        for name, share in progress.shares.items():
            bar = ProgressBar(total=1.0, completed=share.fraction, width=24)
            table.add_row(name, bar, f"{share.fraction:.0%}", f"{share.done} of {share.steps} steps")
        total = Text(
            f"{progress.fraction:.0%} of all work, {duration(progress.elapsed_s)} passed, {left(progress)}",
            style="bold",
        )
        now = [
            Text(f"  {message}", style="dim", overflow="ellipsis", no_wrap=True) for message in messages[:SHOWN_JOBS]
        ]
        if len(messages) > SHOWN_JOBS:
            now.append(Text(f"  and {len(messages) - SHOWN_JOBS} more", style="dim"))
        return Group(table, total, *now)
