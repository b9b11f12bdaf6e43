"""Which measurements of a scale a claim is about, and which parts of a claim a scale changes. Never imports torch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from robustft.errors import ConfigError
from robustft.report.claims import DECIMALS, MARGIN, MISSING, Claim, expanded, outside
from robustft.report.training_metrics import TRAINING_METRICS

Member = dict[str, Any]
"""An entry of the `members` of a verdicts step: the measurement in one ledger."""


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
        if claim["kind"] != "ordering":
            changed = {"decimals": DECIMALS, "margin": MARGIN} | changed
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


def margin_name(claim: Claim) -> str:
    """Name the margin of a claim as a paper's `margins` do: `1 points`, `10 epochs`."""
    metric = TRAINING_METRICS.get(claim["metric"])
    return f"{claim['margin']:g} {metric.noun if metric else 'points'}"


def _reasons(claims: Sequence[Claim], margins: Mapping[str, str], *, paper: str) -> dict[str, str]:
    """Return the reason of each margin that a judged claim has. Raises ConfigError for a margin without a reason."""
    used: dict[str, str] = {}
    for claim in claims:
        if "margin" not in claim or claim.get("value") == MISSING:
            continue
        name = margin_name(claim)
        if name not in margins:
            raise ConfigError(
                f"the claim '{claim['id']}' has a margin without a reason",
                where=f"config/papers/{paper}",
                expected=f"'{name}' under `margins:`, with the reason why so much and no less",
                observed=sorted(margins) or "no margins",
            )
        used[name] = margins[name]
    return used


def judged_parts(
    paper: Mapping[str, Any],
    values: Mapping[str, Any] | None,
    *,
    stand_ins: Mapping[str, str],
    datasets: Mapping[str, Any],
    sources: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the parts of a verdicts step's specification that are about claims.

    `claims` are the paper's own, `margins` the reasons of their margins, and `tables` the published tables if the
    paper has a claims document (`values`).
    """
    scale = {"stand_ins": stand_ins, "datasets": datasets, "sources": sources}
    claims, cells = resolved(paper["claims"], **scale), resolved(expanded(values), **scale) if values else []
    margins = _reasons([*claims, *cells], paper["margins"], paper=paper["paper"])
    parts: dict[str, Any] = {"claims": claims, "margins": margins}
    if values is None:
        return parts
    by_table: dict[str, list[Claim]] = {}
    for claim in cells:
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


def sides(claim: Claim) -> list[tuple[list[str], str]]:
    """Return the sides that a claim compares, each as its methods and its metric: one for a value, else left and right.

    A side of several methods is the one of them that is best on validation images.
    """
    if claim["kind"] == "value":
        return [([claim["method"]], claim["metric"])]
    names = ((claim[side], claim.get(f"{side}_metric") or claim["metric"]) for side in ("left", "right"))
    return [([methods] if isinstance(methods, str) else methods, metric) for methods, metric in names]


def operands(claim: Claim) -> list[tuple[str, str]]:
    """Return every (method, metric) that a claim is about."""
    return [(method, metric) for methods, metric in sides(claim) for method in methods]


def matching_members(claim: Claim, members: Sequence[Member], operand: tuple[str, str]) -> list[Member]:
    """Return the members that one operand of a claim is about.

    A claim may name one evaluation, or several that are taken together, each with its own data sets. Without an
    evaluation it is about the test images of the data set that a run was trained on.
    """
    method, metric = operand
    evaluations, datasets = evaluations_of(claim), datasets_of(claim)

    def fits(one: Member) -> bool:
        if evaluations is None:
            return not one["transfer_eval"] and one["split"] == "test"
        return one["evaluation"] in evaluations

    return [
        one
        for one in members
        if one["method"] == method
        and one["experiment"] in experiments_of(claim)
        and metric in one["attacks"]
        and fits(one)
        and (datasets is None or one["dataset"] in datasets)
    ]


def require_one_measurement(claims: Sequence[Claim], members: Sequence[Member]) -> None:
    """Raise ConfigError for a claim that is about two measurements of one method on one data set.

    They would be of other images, or of other runs, and their outcomes must not be pooled.
    """
    by_method: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        by_method[member["method"]].append(member)
    for claim in claims:
        for method, metric in operands(claim):
            found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
            for one in matching_members(claim, by_method[method], (method, metric)):
                place = (one["experiment"], one["trained_on"], one["evaluation"], one["split"])
                found[one["dataset"]].add(place)
            for dataset, places in found.items():
                if len(places) > 1:
                    raise ConfigError(
                        f"the claim '{claim['id']}' is about two measurements of {method} on {dataset}",
                        expected="one experiment, training data set, evaluation and split",
                        observed="; ".join(" ".join(place) for place in sorted(places)),
                        next_step="name the claim's `evaluation` or its `dataset`",
                    )


def unmeasured(
    claims: Sequence[Claim],
    members: Sequence[Member],
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
