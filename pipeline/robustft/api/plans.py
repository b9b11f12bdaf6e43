"""The plan of a scale: every step, without torch."""

from __future__ import annotations

from collections.abc import Sequence

from robustft.config.load import Config
from robustft.plan import Plan


def make_plan(scale: str | None = None, papers: str | Sequence[str] | None = None, *, seeds: int | None = None) -> Plan:
    """Return every step that reproduces some papers at a scale: what it reads, what it writes, what it costs to skip.

    Args:
        scale: a file of config/scales/, such as "smoke", "demo" or "paper"; by default as config/config.yaml says.
        papers: names of config/papers/, such as ["twins"]; by default all.
        seeds: how many seeds of each experiment; by default as the scale says.

    Nothing is run, and no file is written. Raises RobustftError for an unknown name, with the nearest valid one.

    Examples:
        >>> import robustft
        >>> plan = robustft.make_plan(scale="smoke", papers=["twins"])
        >>> [step.id for step in plan.of_kind("table")]
        ['twins/main']
        >>> plan.step("table", "twins/main").outputs["md"]
        'results/smoke/twins/tables/main.md'
    """
    return Plan(Config(scale=scale, papers=papers, seeds=seeds))
