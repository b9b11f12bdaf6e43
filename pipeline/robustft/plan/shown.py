"""What each column of a table or figure shows, and each claim is about: one evaluation, and so one split."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from robustft.errors import ConfigError
from robustft.plan.step import Evaluation, Run

Shown = dict[str, dict[str, Any]]
"""For each attack of a table or figure: `evaluation`, `split`, `norm`, `eps`, and settings named in `EFFORT`."""

EFFORT = ("version", "steps", "queries", "iterations", "square_queries")
"""The settings that say which attack it is, and how long it searches."""


def shown(display: dict[str, Any], evaluations: Sequence[Evaluation], *, where: Path, what: str) -> Shown:
    """Return what each column of a table or figure shows, without the columns that nothing measures.

    Args:
        display: the entry of a table or figure, with `columns` or `metric`; `evaluations` if it names them.
        evaluations: those that are planned for its experiment.
        where: the file of the entry.
        what: the entry's name in errors, such as "the table 'main'".

    Raises ConfigError if two evaluations measure a column and the entry does not say which one is meant, and if columns
    are of two splits and the entry does not name their evaluations.
    """
    across, named = display.get("across") == "datasets", display.get("evaluations")
    measured = {one.name: one for one in evaluations if one.transfer_eval == across}
    found: Shown = {}
    for column in columns_of(display):
        names = [name for name, one in measured.items() if column in one.attacks and name in (named or measured)]
        if len(names) > 1:
            raise _ambiguous(f"{what}: several evaluations measure the column '{column}'", measured, names, where)
        if names:
            found[column] = _column(measured[names[0]], column)
    if named is None and len({one["split"] for one in found.values()}) > 1:
        names = list(dict.fromkeys(one["evaluation"] for one in found.values()))
        raise _ambiguous(f"{what}: its columns are of several splits", measured, names, where)
    return found


def columns_of(display: dict[str, Any]) -> list[str]:
    """Return the metrics that a table or figure shows: its columns, or the one metric of a table across data sets."""
    return list(display["columns"]) if "columns" in display else [display["metric"]] if "metric" in display else []


def _column(evaluation: Evaluation, column: str) -> dict[str, Any]:
    spec = evaluation.step.spec
    attack = next(one for one in spec["attacks"] if one["name"] == column)
    return {"evaluation": evaluation.name, "split": spec["split"], **_attacked(attack, spec["threat"])}


def _attacked(attack: dict[str, Any], threat: dict[str, Any]) -> dict[str, Any]:
    """Return norm, eps and effort of an attack; `threat` is the one of an attack without its own."""
    if attack["algorithm"] == "none":
        return {}
    threat, settings = attack.get("threat", threat), {**attack, **attack.get("parameters", {})}
    effort = {key: settings[key] for key in EFFORT if key in settings}
    return {"norm": threat["norm"], "eps": str(threat["eps"]), **effort}


def monitored(runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the histories of runs of one experiment were measured with: attack, threat, images by split, seeds.

    `images` has the distinct numbers of images of each split, one unless data sets differ in size. Of runs that all
    measure losses along attacks it is these attacks, on test images.
    """
    along = [run.step.spec["diagnostics"].get("loss_along") for run in runs]
    images: dict[str, list[int]] = {}
    for run in runs:
        spec = run.step.spec
        sizes, watched = spec["dataset"]["splits"], (spec["split"], "validation", "test")
        most = spec["diagnostics"]["loss_along"]["images"] if all(along) else spec["monitor"]["images"]
        for split in (split for split in watched if split in sizes and (split == "test" or not all(along))):
            count = min(most, sizes[split])
            images[split] = list(dict.fromkeys([*images.get(split, []), count]))
    spec = runs[0].step.spec
    attacks = along[0]["attacks"] if all(along) else [spec["monitor"]["attack"]]
    return {
        "title": " and ".join(attack["title"] for attack in attacks),
        **_attacked(attacks[0], spec["threat"]),
        "images": images,
        "datasets": list(dict.fromkeys(run.dataset for run in runs)),
        "seeds": sorted({run.seed for run in runs}),
    }


def planned_cells(found: Shown, evaluations: Sequence[Evaluation], methods: Collection[str]) -> list[dict[str, Any]]:
    """Return what a table or figure of these methods will show, as far as its caption says: images, split, seeds."""
    images: dict[tuple[str, str, str, str], dict[int, int]] = {}
    for one in evaluations:
        first, last = one.step.spec["images"]
        for attack in one.attacks:
            if one.run.method in methods and found.get(attack, {}).get("evaluation") == one.name:
                by_seed = images.setdefault((one.name, one.dataset, attack, one.run.method), {})
                by_seed[one.run.seed] = by_seed.get(one.run.seed, 0) + last - first
    return [
        {**found[attack], "dataset": dataset, "attack": attack, "images": count, "seeds": [*by_seed]}
        for (_, dataset, attack, _), by_seed in images.items()
        for count in dict.fromkeys(by_seed.values())
    ]


def _ambiguous(text: str, measured: dict[str, Evaluation], names: list[str], where: Path) -> ConfigError:
    candidates = ", ".join(f"{name} ({measured[name].step.spec['split']})" for name in names)
    return ConfigError(
        text,
        where=where,
        expected="one evaluation for a column, of one split",
        observed=candidates,
        next_step=f"say which is shown, such as `evaluations: [{names[0]}]`",
    )


def refuse_overlaps(evaluations: Sequence[Evaluation], *, where: Path) -> None:
    """Raise ConfigError if two parts of one evaluation of a run attack the same images with the same attack.

    A cell counts each image once: an image in two ledgers would stop the report, after all training.
    """
    taken: dict[tuple[str, str, str, str], list[tuple[int, int, str]]] = {}
    for one in evaluations:
        first, last = one.step.spec["images"]
        for attack in one.attacks:
            parts = taken.setdefault((one.run.id, one.name, one.dataset, attack), [])
            for other_first, other_last, other in parts:
                if first < other_last and other_first < last:
                    shared = f"{max(first, other_first)} to {min(last, other_last) - 1}"
                    raise ConfigError(
                        f"the evaluation '{one.name}' attacks images twice with '{attack}'",
                        where=where,
                        expected="parts without a common image, and each attack once",
                        observed=f"images {shared} of {one.dataset} in {other} and {one.step.id}",
                        next_step="name each attack of the evaluation once",
                    )
            parts.append((first, last, one.step.id))
