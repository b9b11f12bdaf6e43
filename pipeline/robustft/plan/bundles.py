"""Bundles: the training and attack steps of a few methods as one job, since a short step needs no own process."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from robustft.plan.step import Bundle, Evaluation, Run, Step

PRETRAINING = "pretraining/"


def bundled(
    trainings: Iterable[Step], runs: Iterable[Run], evaluations: Iterable[Evaluation], *, methods: int
) -> list[Bundle]:
    """Return the training and attack steps of a plan as bundles of up to `methods` methods, over all seeds.

    A paper's bundles are neighbours in plan order and of nearly equal numbers of methods; those of the pre-trainings
    that it is the first to need come before them. So the inputs of a bundle are planned before it.
    """
    attacks: dict[str, list[Step]] = {}
    for evaluation in evaluations:
        attacks.setdefault(evaluation.run.id, []).append(evaluation.step)
    pretrained: dict[str, Step] = {step.id: step for step in trainings if step.id.startswith(PRETRAINING)}
    by_record = {step.record: step for step in pretrained.values()}
    papers: dict[str, dict[str, list[Step]]] = {}
    first: dict[str, dict[str, list[Step]]] = {}
    for run in runs:
        for step in _needed(run.steps, by_record):
            if pretrained.pop(step.id, None):
                first.setdefault(run.paper, {})[step.id.replace("/", "_")] = [step]
        steps = [*([run.step] if run.trained else []), *attacks.get(run.id, [])]
        if steps:
            name = "_".join((run.paper, run.experiment, run.dataset, run.method))
            papers.setdefault(run.paper, {}).setdefault(name, []).extend(steps)
    return [
        Bundle(names[0], paper, tuple(step for name in names for step in by_method[name]))
        for paper, methods_of in papers.items()
        for by_method in (first.get(paper, {}), methods_of)
        for names in _parts(list(by_method), methods)
    ]


def _needed(steps: Iterable[Step], by_record: dict[str, Step]) -> list[Step]:
    """Return the pre-trainings that steps start from, or are, each after those that it starts from itself."""
    found: dict[str, Step] = {}
    for step in steps:
        above = [by_record[record] for record in step.upstream.values() if record in by_record]
        own = [step] if step.record in by_record else []
        found |= {one.id: one for one in (*_needed(above, by_record), *own)}
    return list(found.values())


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    """Return names in as few parts of at most `most` as possible, none larger than another by more than one."""
    count = -(-len(names) // most)
    size, larger = divmod(len(names), count) if count else (0, 0)
    starts = [part * size + min(part, larger) for part in range(count + 1)]
    return [names[start:end] for start, end in itertools.pairwise(starts)]
