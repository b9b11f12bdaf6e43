"""Where the values of a step's specification come from, in the form that records keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from robustft.plan import Plan, origins_of
from robustft.plan.step import Bundle, Step

KINDS = ("train", "attack")
"""The steps whose specification has values with a basis in a paper or its code."""

Origins = Mapping[str, Sequence[str]]
"""For each value, by its path in the specification: the file of the configuration, the basis and the source."""


def recorded_origins(plan: Plan, step: Step) -> Origins:
    """Return the origins that the record of a step keeps; a value without a tag is ours.

    Lines are left out: they move with every edit of the file.
    """
    if step.kind not in KINDS:
        return {}
    return {
        path: [origin.file, origin.basis or "ours", origin.source or ""]
        for path, origin in origins_of(plan, step).items()
    }


def with_origins(plan: Plan, work: Step | Bundle) -> Step | Bundle:
    """Return a step, or a bundle of steps, with the origins that its records are to keep."""
    if isinstance(work, Bundle):
        return replace(work, steps=tuple(replace(step, origins=recorded_origins(plan, step)) for step in work.steps))
    return replace(work, origins=recorded_origins(plan, work))
