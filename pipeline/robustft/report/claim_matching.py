"""Which measurements of a scale a claim is about, and which parts of a claim a scale changes. Never imports torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from robustft.report.claims import Claim, expanded, outside


def resolved(
    claims: Sequence[Claim], *, stand_ins: Mapping[str, str], datasets: Mapping[str, Any], sources: Mapping[str, Any]
) -> list[Claim]:
    """Return claims with each data set replaced by its stand-in at a scale.

    A claim gets `stand_in`, the name of a data set that is not comparable with the published one: it is a view of
    another source, or its source is `lossy` (recompressed, resized).
    """
    claims_here = []
    for claim in claims:
        names = datasets_of(claim)
        replacements = {name: stand_ins.get(name, name) for name in names or ()}
        changed = dict(claim)
        if "dataset" in claim:
            changed["dataset"] = replacements[claim["dataset"]]
        if "datasets" in claim:
            changed["datasets"] = [replacements[name] for name in claim["datasets"]]
        if "images" in claim:
            changed["images"] = {replacements[name]: images for name, images in claim["images"].items()}
        incomparable = [there for name, there in replacements.items() if _is_other(name, there, datasets, sources)]
        claims_here.append(changed | ({"stand_in": incomparable[0]} if incomparable else {}))
    return claims_here


def _is_other(name: str, here: str, datasets: Mapping[str, Any], sources: Mapping[str, Any]) -> bool:
    source = datasets.get(here, {}).get("source")
    if sources.get(source, {}).get("lossy", False):
        return True
    return datasets.get(name, {}).get("source") != source


def judged_parts(
    inline: Sequence[Claim],
    values: Mapping[str, Any] | None,
    *,
    stand_ins: Mapping[str, str],
    datasets: Mapping[str, Any],
    sources: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the `claims` of a verdicts step's specification, and its `tables` if the paper has a claims document."""
    scale = {"stand_ins": stand_ins, "datasets": datasets, "sources": sources}
    parts: dict[str, Any] = {"claims": resolved(inline, **scale)}
    if values is None:
        return parts
    by_table: dict[str, list[Claim]] = {}
    for claim in resolved(expanded(values), **scale):
        by_table.setdefault(claim["table"], []).append(claim)
    left_out: dict[str, Counter[str]] = {}
    for cell in outside(values):
        left_out.setdefault(cell.table, Counter())[str(cell.outside)] += 1
    parts["tables"] = [
        {
            "id": name,
            "about": table["about"],
            "source": table["source"],
            "confidence": table["confidence"],
            "caveats": table.get("caveats", []),
            "claims": by_table.get(name, []),
            "outside": dict(left_out.get(name, {})),
            **({"unread": table["unread"]} if "unread" in table else {}),
        }
        for name, table in values["tables"].items()
    ]
    return parts


# -- which measurements a claim is about -------------------------------------------------------------------------------


def datasets_of(claim: Claim) -> list[str] | None:
    """Return the data sets that a claim names; None if it is about all that are measured."""
    return claim["datasets"] if "datasets" in claim else [claim["dataset"]] if "dataset" in claim else None


def experiments_of(claim: Claim) -> list[str]:
    """Return the experiments that a claim is about. Several are taken together, each with its own data sets."""
    return [claim["experiment"]] if isinstance(claim["experiment"], str) else claim["experiment"]


def evaluations_of(claim: Claim) -> list[str] | None:
    """Return the evaluations that a claim names; None if it is about the data that a run was trained on."""
    named = claim.get("evaluation")
    return [named] if isinstance(named, str) else named


def operands(claim: Claim) -> list[tuple[str, str]]:
    """Return the (method, metric) pairs that a claim compares: one for a value, else left and right."""
    if claim["kind"] == "value":
        return [(claim["method"], claim["metric"])]
    return [(claim[operand], claim.get(f"{operand}_metric") or claim["metric"]) for operand in ("left", "right")]


def matching_members(claim: Claim, members: Sequence[dict[str, Any]], operand: tuple[str, str]) -> list[dict[str, Any]]:
    """Return the members (entries of ledgers) that one operand of a claim is about.

    A claim may name one evaluation, or several that are taken together. Without an evaluation it is about the data set
    that a run was trained on.
    """
    method, metric = operand
    evaluations, datasets = evaluations_of(claim), datasets_of(claim)
    return [
        one
        for one in members
        if one["method"] == method
        and one["experiment"] in experiments_of(claim)
        and metric in one["attacks"]
        and (not one["transfer_eval"] if evaluations is None else one["evaluation"] in evaluations)
        and (datasets is None or one["dataset"] in datasets)
    ]


def unmeasured(
    claims: Sequence[Claim],
    members: Sequence[dict[str, Any]],
    trainings: Sequence[dict[str, Any]],
    *,
    training_metrics: Collection[str],
) -> list[str]:
    """Return the ids of claims with an operand that is not measured in every experiment and data set of the claim."""
    ids = []
    for claim in claims:
        for method, metric in operands(claim):
            if metric in training_metrics:
                runs = [one for one in trainings if one["experiment"] in experiments_of(claim)]
                planned = [one for one in runs if one["method"] == method]
            else:
                planned = matching_members(claim, members, (method, metric))
            experiments, there = {one["experiment"] for one in planned}, {one["dataset"] for one in planned}
            if not set(experiments_of(claim)) <= experiments or not set(datasets_of(claim) or ()) <= there:
                ids.append(claim["id"])
                break
    return ids
