"""Bundles: the training and attack steps of a few methods as one job, since a short step needs no own process."""

from __future__ import annotations

from collections.abc import Iterable

from robustft.plan.step import Bundle, Evaluation, Run, Step


def bundled(runs: Iterable[Run], evaluations: Iterable[Evaluation], *, methods: int) -> list[Bundle]:
    """Return the steps of runs and evaluations as bundles of up to `methods` methods, over all seeds.

    A bundle has neighbours of one experiment and data set, in plan order, so its inputs are planned before it.
    """
    attacks: dict[str, list[Step]] = {}
    for evaluation in evaluations:
        attacks.setdefault(evaluation.run.id, []).append(evaluation.step)
    grouped: dict[tuple[str, str, str], dict[str, list[Step]]] = {}
    for run in runs:
        by_method = grouped.setdefault((run.paper, run.experiment, run.dataset), {})
        steps = [*([run.step] if run.trained else []), *attacks.get(run.id, [])]
        if steps:
            by_method.setdefault(run.method, []).extend(steps)
    bundles = []
    for key, by_method in grouped.items():
        names = list(by_method)
        for first in range(0, len(names), methods):
            steps = [step for name in names[first : first + methods] for step in by_method[name]]
            bundles.append(Bundle("_".join((*key, names[first])), key[0], tuple(steps)))
    return bundles
