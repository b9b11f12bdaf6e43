"""The `verdicts` step: a verdict on each claim, by rules fixed before the run.

An ordering ("left is more robust than right") holds if its p-value, adjusted for the number of the paper's orderings,
is below 5 % and the difference is above zero; it is reversed if the difference is below. A published value is
reproduced if the 95 % interval of ours minus the published one lies inside the margin, and differs if the interval
lies outside. Everything else, and anything with fewer than three seeds, is inconclusive. What was counted and not
sampled is compared exactly. Of published weights evaluated as they are one seed is enough: it has no part in them.

Where a scale measures a `subset`, each claim is "not comparable: subset", with its difference beside it. At a scale of
stand-ins an ordering has a direction and no verdict, and a published value is not comparable. Where a
model may only be guessing, nothing is judged at any scale.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError
from robustft.files import write_json, write_text
from robustft.report.claim_matching import sides
from robustft.report.claims import MISSING, Claim
from robustft.report.comparisons import Measured, difference, from_published, measured
from robustft.report.evidence import Evidence, Side, datasets_measured
from robustft.report.formats import to_html, to_markdown
from robustft.report.intervals import LEVEL, seeds_needed
from robustft.report.statistics import holm
from robustft.report.training_metrics import TRAINING_METRICS
from robustft.report.verdict_tables import (
    DIRECTION,
    NOT_COMPARABLE,
    NOT_TRAINED,
    SUBSET,
    UNREAD,
    build_grid,
    cell_grids,
)
from robustft.runtime.context import Context

MINIMUM_SEEDS = 3

JUDGED = ("holds", "reversed", "reproduced", "differs", "inconclusive", NOT_COMPARABLE)
"""The verdicts that a measurement on a subset does not have."""

TOLD = ("p", "at_half_margin", "at_double_margin", "seeds_needed")
"""What goes with them."""

Verdict = dict[str, Any]
"""An entry of verdicts.json."""


def judge_ordering(estimate: float, p: float) -> str:
    """Return holds, reversed, or inconclusive, for the claim that a difference is above zero."""
    if p >= LEVEL:
        return "inconclusive"
    return "holds" if estimate > 0 else "reversed"


def judge_value(low: float, high: float, margin: float) -> str:
    """Return reproduced, differs, or inconclusive, for an interval of ours minus the published value."""
    if -margin <= low and high <= margin:
        return "reproduced"
    return "differs" if low > margin or high < -margin else "inconclusive"


class Judge:
    """Judges claims from the files of one paper by role: ledgers, histories, and its numbers.json."""

    def __init__(self, spec: dict[str, Any], files: dict[str, Path]) -> None:
        self._reproduces, self._subset = spec["reproduces"], spec.get("subset", False)
        self._evidence = Evidence(spec, files)

    def judge(self, claim: Claim) -> Verdict:
        """Return the claim's verdict with what it rests on. That of an ordering with a `p` is still to be adjusted."""
        about = {key: claim[key] for key in ("id", "statement", "source", "confidence")}
        if claim["kind"] != "ordering" and (unjudged := self._unjudged(claim)):
            return {**about, **unjudged}
        found = [self._evidence.side(claim, methods, metric) for methods, metric in sides(claim)]
        if None in found:
            return {**about, "verdict": "not run", "remark": "no validation accuracy says which method is the best one"}
        known = [side for side in found if side is not None]
        judged = self._judged(claim, known)
        if self._subset and judged["verdict"] in JUDGED:
            judged = {key: value for key, value in judged.items() if key not in TOLD} | {"verdict": SUBSET}
        return {**about, **self._published(claim), **judged}

    def _unjudged(self, claim: Claim) -> Verdict | None:
        """Return the verdict on a published number that is not comparable at this scale, None if it is comparable."""
        if claim["value"] == MISSING:
            return {"verdict": UNREAD}
        if not self._reproduces or "stand_in" in claim:
            return {"verdict": NOT_COMPARABLE, "published": claim["value"]}
        return None

    @staticmethod
    def _published(claim: Claim) -> Verdict:
        if claim["kind"] == "ordering":
            return {"below": claim["margin"]} if "margin" in claim else {}
        selection = {"selection": claim["selection"]} if "selection" in claim else {}
        return {"published": claim["value"], "margin": claim["margin"], **selection}

    def _judged(self, claim: Claim, found: list[Side]) -> Verdict:
        metric, ordering = TRAINING_METRICS.get(found[0].metric), claim["kind"] == "ordering"
        datasets = datasets_measured(claim, *found)
        paired = len(found) == 2 and self._evidence.share_runs(*found)
        # What training needs is better if it is less.
        result = measured(found[::-1] if ordering and metric else found, datasets, paired=paired)
        if result is None:
            return {"verdict": "not run"}
        if metric and metric.exact:
            return {**self._exact(claim, result), "unit": metric.noun}
        basis = self._basis(claim, found, result)
        if untrained := self._evidence.untrained(*found):
            return {"verdict": NOT_TRAINED, "untrained": untrained, **basis}
        if ordering:
            return {**self._ordering(claim, result), **basis}
        published = all(map(self._evidence.published, found))
        return {**_value(claim, found[0], result, seeds=math.inf if published else result.seeds), **basis}

    def _basis(self, claim: Claim, found: list[Side], result: Measured) -> Verdict:
        """Return what a verdict rests on: seeds, the chosen method, pre-trained checkpoints, failed checks."""
        metric = TRAINING_METRICS.get(found[0].metric)
        basis: Verdict = {"seeds": result.seeds, **({"unit": metric.noun} if metric else {})}
        for (methods, _), side in zip(sides(claim), found, strict=True):
            if len(methods) > 1:
                basis["chosen"] = side.method
        if given := self._evidence.given(*found):
            basis["given"] = given
        if failed_checks := self._evidence.failed_checks(*found):
            basis["failed_checks"] = failed_checks
        if len(found) == 2 and len(result.by_image) > 1:
            other_way = sum(value * result.value < 0 for value in result.by_dataset.values())
            basis["by_dataset"] = {"number": len(result.by_image), "other_way": other_way}
        return basis

    def _ordering(self, claim: Claim, result: Measured) -> Verdict:
        if result.seeds < 2:
            verdict = "inconclusive" if self._reproduces else DIRECTION
            return {"verdict": verdict, "estimate": result.value}
        estimate = difference(result)
        told = estimate.interval()._asdict()
        if not self._reproduces:
            return {"verdict": DIRECTION, **told}
        if result.seeds < MINIMUM_SEEDS:
            return {"verdict": "inconclusive", **told}
        above = replace(estimate, value=estimate.value + claim.get("margin", 0.0) / 100)
        return {"verdict": judge_ordering(above.value, above.p()), **told, "p": above.p()}

    def _exact(self, claim: Claim, result: Measured) -> Verdict:
        """Compare what is counted and not sampled: two values are equal or are not."""
        if any(len(set(values)) > 1 for values in result.per_seed):
            raise IntegrityError(
                f"{claim['metric']} is not the same in every seed", where=claim["id"], observed=result.per_seed
            )
        if claim["kind"] == "ordering":
            sign = "holds" if result.value > 0 else "reversed" if result.value < 0 else "differs"
            return {"verdict": sign if self._reproduces else DIRECTION, "estimate": result.value, "exact": True}
        off = result.value - claim["value"]
        return {**_at_margins(off, off, claim["margin"]), "estimate": off, "exact": True}


def _value(claim: Claim, side: Side, result: Measured, *, seeds: float) -> Verdict:
    """Judge a published value, or a published difference of `side` and another one; `seeds` are as good as so many."""
    if seeds < 2:
        return {"verdict": "inconclusive"}
    whole = {dataset: side.split_images.get(dataset, number) for dataset, number in result.images.items()}
    published_images = whole | claim.get("images", {})
    estimate = from_published(result, claim, published_images, whole)
    interval, margin = estimate.interval(), claim["margin"] / (100 if result.of_images else 1)
    told = interval._asdict()
    if result.of_images and result.images != published_images:
        # The subsets differ. The interval allows for both numbers of images and is reported, but gives no verdict.
        return {"verdict": NOT_COMPARABLE, "images": result.images, "published_images": published_images, **told}
    if seeds < MINIMUM_SEEDS:
        return {"verdict": "inconclusive", **told}
    judged = _at_margins(interval.low, interval.high, margin)
    if judged["verdict"] == "inconclusive" and len(result.per_seed) == 1:
        runs, left = claim.get("runs", 1), margin - estimate.rounding
        judged["seeds_needed"] = seeds_needed(estimate.seeds, result.seeds, runs, left)
    return {**judged, **told}


def _at_margins(low: float, high: float, margin: float) -> Verdict:
    names = {"verdict": 1.0, "at_half_margin": 0.5, "at_double_margin": 2.0}
    return {name: judge_value(low, high, factor * margin) for name, factor in names.items()}


def adjusted(verdicts: list[Verdict]) -> list[Verdict]:
    """Return a paper's verdicts with the p-values of its orderings adjusted for their number (Holm), as `p_holm`."""
    values = iter(holm([one["p"] for one in verdicts if "p" in one]))
    return [_adjusted(one, next(values)) if "p" in one else one for one in verdicts]


def _adjusted(verdict: Verdict, p: float) -> Verdict:
    above = verdict["estimate"] + verdict.get("below", 0.0) / 100
    return {**verdict, "verdict": judge_ordering(above, p), "p_holm": p}


def judged(spec: dict[str, Any], files: dict[str, Path]) -> dict[str, Any]:
    """Return the content of verdicts.json: each of the paper's own claims, and its tables of published values.

    A table has the counts of its verdicts, and at the paper's own scale each cell; elsewhere all cells are alike.
    """
    judge = Judge(spec, files)
    head = {"scale": spec["scale"], "paper": spec["paper"], "margins": spec["margins"]}
    content: dict[str, Any] = {**head, "verdicts": adjusted([judge.judge(claim) for claim in spec["claims"]])}
    if "tables" in spec:
        content["tables"] = [_judged_table(judge, table, cells=spec["reproduces"]) for table in spec["tables"]]
    return content


def _judged_table(judge: Judge, table: dict[str, Any], *, cells: bool) -> dict[str, Any]:
    cell_verdicts = [{**judge.judge(claim), "cell": claim["cell"]} for claim in table["claims"]]
    rest = {key: value for key, value in table.items() if key != "claims"}
    counted = dict(Counter(verdict["verdict"] for verdict in cell_verdicts))
    return {**rest, "verdicts": counted, **({"cells": cell_verdicts} if cells else {})}


def verdicts(spec: dict[str, Any], context: Context) -> None:
    """Write the verdicts as JSON, Markdown and HTML. Markdown and JSON have every cell of the tables."""
    content = judged(spec, context.inputs)
    write_json(context.outputs["json"], content)
    grid = build_grid(spec, content)
    write_text(context.outputs["md"], "\n".join(to_markdown(one) for one in (grid, *cell_grids(content))))
    write_text(context.outputs["html"], to_html(grid))
