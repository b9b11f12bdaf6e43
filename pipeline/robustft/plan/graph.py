"""The graph of steps: add steps and look them up. It does not read the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from robustft.errors import ConfigError, RobustftError, nearest
from robustft.plan.layers import Parts, Place
from robustft.plan.step import Step

RESULTS = "results"
"""The folder below the working directory that every step writes to."""


class Graph:
    """Steps by key `kind:id`, in the order in which they were added: each after the steps whose outputs it reads."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: dict[str, Step] = {}
        self._producers: dict[str, Step] = {}
        self._parts: dict[str, Parts] = {}

    def add(self, kind: str, id: str, parts: Parts, *, inputs: dict[str, str], **rest: Any) -> Step:
        """Create a step from the resolved parts of its specification, add it, and return it.

        `inputs` are paths that earlier steps write, by role; `rest` is passed to `Step`. Raises ConfigError if the
        key is taken.
        """
        upstream = {role: self._producers[path].record for role, path in inputs.items()}
        step = Step(kind=kind, id=id, spec=parts.value, inputs=inputs, upstream=upstream, **rest)
        if step.key in self.steps:
            raise ConfigError(f"two steps are named {step.key}", where=f"the plan of scale '{self.name}'")
        self.steps[step.key], self._parts[step.key] = step, parts
        self._producers |= dict.fromkeys(step.outputs.values(), step)
        return step

    def get(self, kind: str, id: str) -> Step | None:
        """Return a step, or None if there is none with this name."""
        return self.steps.get(f"{kind}:{id}")

    def step(self, kind: str, id: str) -> Step:
        """Return a step. Raises ConfigError with the nearest name for an unknown one."""
        step = self.get(kind, id)
        if step is None:
            ids = [one.id for one in self.of_kind(kind)]
            raise RobustftError(f"the plan of scale '{self.name}' has no {kind} '{id}'", next_step=nearest(id, ids))
        return step

    def of_kind(self, kind: str) -> list[Step]:
        """Return the steps of one kind, in plan order."""
        return [step for step in self.steps.values() if step.kind == kind]

    def needed(self, ends: Iterable[Step]) -> list[Step]:
        """Return `ends` and every step that they need, in plan order."""
        seen: set[str] = set()
        waiting = list(ends)
        while waiting:
            step = waiting.pop()
            if step.key not in seen:
                seen.add(step.key)
                waiting += [made for path in step.inputs.values() if (made := self.producer(path)) is not None]
        return [step for key, step in self.steps.items() if key in seen]

    def producer(self, path: str) -> Step | None:
        """Return the step that writes `path`, if one does."""
        return self._producers.get(path)

    def places(self, step: Step) -> dict[str, Place]:
        """Return the place in the configuration of each value of a step's specification, by the value's path."""
        return self._parts[step.key].places()
