"""The `verdicts` step: a verdict on each claim, by rules fixed before the run.

An ordering ("left is more robust than right") is judged at every scale. It holds if the whole 95 % interval of the
difference is above zero, does not hold if the whole interval is below, and is inconclusive otherwise or with fewer
than three seeds. A published value is judged only at the paper's own scale, on the published data and number of test
images. It is reproduced if the interval of the difference lies inside the margin, differs if the interval lies
outside, and is inconclusive otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robustft.evaluate.ledger import Outcome, read_ledger
from robustft.files import read_json, write_json, write_text
from robustft.report.claim_matching import datasets_of, experiments_of, matching_members, operands
from robustft.report.claims import MISSING, Claim
from robustft.report.formats import to_html, to_markdown
from robustft.report.intervals import Interval, combined, difference, seed_half_width, value_interval
from robustft.report.numbers import joined
from robustft.report.statistics import mean
from robustft.report.training_metrics import TRAINING_METRICS
from robustft.report.verdict_tables import NOT_COMPARABLE, UNREAD, build_grid, cell_grids
from robustft.runtime.context import Context

MINIMUM_SEEDS = 3


def judge_ordering(interval: Interval) -> str:
    """Return holds, does not hold, or inconclusive, for the claim that the difference is above zero."""
    if interval.low > 0:
        return "holds"
    return "does not hold" if interval.high < 0 else "inconclusive"


def judge_value(interval: Interval, margin: float) -> str:
    """Return reproduced, differs, or inconclusive, for an interval of (measured - published)."""
    if -margin <= interval.low and interval.high <= margin:
        return "reproduced"
    return "differs" if interval.low > margin or interval.high < -margin else "inconclusive"


Outcomes = dict[tuple[str, int], Outcome]
"""One method's outcomes under one attack, by data set and seed."""


class Judge:
    """Judges claims from the files of one paper by role: its ledgers, and numbers.json for metrics of training."""

    def __init__(self, spec: dict[str, Any], files: dict[str, Path]) -> None:
        self._spec, self._ledgers = spec, files
        self._cache: dict[str, dict[str, Outcome]] = {}
        self._trainings = read_json(files["numbers"])["trainings"] if "numbers" in files else []
        self._splits = {one["dataset"]: one["split_images"] for one in spec["members"] if "split_images" in one}

    def _outcomes(self, claim: Claim, operand: tuple[str, str]) -> Outcomes:
        parts: dict[tuple[str, int], list[Outcome]] = {}
        for member in matching_members(claim, self._spec["members"], operand):
            name = member["ledger"]
            if name not in self._cache:
                self._cache[name] = read_ledger(self._ledgers[name])
            parts.setdefault((member["dataset"], member["seed"]), []).append(self._cache[name][operand[1]])
        return {key: joined(outcomes) for key, outcomes in parts.items()}

    def judge(self, claim: Claim) -> dict[str, Any]:
        """Return the claim's verdict, with its interval where there is one."""
        judge = {"ordering": self._ordering, "value": self._value, "difference": self._difference}[claim["kind"]]
        return {
            "id": claim["id"],
            "statement": claim["statement"],
            "source": claim["source"],
            "confidence": claim["confidence"],
            **judge(claim),
        }

    def _paired(self, claim: Claim) -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
        """Return the left and right outcomes (seeds, images) by data set, on the seeds and images that both have."""
        left, right = (self._outcomes(claim, operand) for operand in operands(claim))
        pairs = set(left) & set(right)
        datasets = _complete(claim, pairs)
        seeds = _seeds(datasets, pairs)
        if not seeds:
            return None

        def rows(dataset: str) -> tuple[np.ndarray, np.ndarray]:
            shared = [np.intersect1d(left[dataset, s].image, right[dataset, s].image) for s in seeds]
            return (
                np.array([_correct(left[dataset, s], images) for s, images in zip(seeds, shared, strict=True)]),
                np.array([_correct(right[dataset, s], images) for s, images in zip(seeds, shared, strict=True)]),
            )

        return {dataset: rows(dataset) for dataset in datasets}

    def _ordering(self, claim: Claim) -> dict[str, Any]:
        if claim["metric"] in TRAINING_METRICS:
            return self._training_ordering(claim)
        paired = self._paired(claim)
        if paired is None:
            return {"verdict": "not run"}
        return self._judged(lambda: difference(list(paired.values())), seeds=_rows(paired))

    def _judged(self, interval_of: Callable[[], Interval], *, seeds: int) -> dict[str, Any]:
        if seeds < 2:
            return {"verdict": "inconclusive", "seeds": seeds}
        interval = interval_of()
        verdict = judge_ordering(interval) if seeds >= MINIMUM_SEEDS else "inconclusive"
        return {"verdict": verdict, "seeds": seeds, **vars(interval)}

    def _training_ordering(self, claim: dict[str, Any]) -> dict[str, Any]:
        """Judge that the left method needs less of a training metric than the right one, paired by seed."""
        left, right = (self._training_values(claim, method) for method, _ in operands(claim))
        pairs = set(left) & set(right)
        datasets = _complete(claim, pairs)
        seeds = _seeds(datasets, pairs)
        if not seeds:
            return {"verdict": "not run"}
        saved = [mean([right[dataset, seed] - left[dataset, seed] for dataset in datasets]) for seed in seeds]
        unit = TRAINING_METRICS[claim["metric"]].unit
        verdict = self._judged(lambda: combined(mean(saved), seed_half_width(saved)), seeds=len(seeds))
        return {**verdict, "unit": unit}

    def _training_values(self, claim: Claim, method: str) -> dict[tuple[str, int], float]:
        """Return a training metric of a method's runs, by data set and seed."""
        key, named = {"method": method, "metric": claim["metric"]}, datasets_of(claim)
        return {
            (entry["dataset"], entry["seed"]): entry["value"]
            for entry in self._trainings
            if key.items() <= entry.items()
            and entry["experiment"] in experiments_of(claim)
            and (named is None or entry["dataset"] in named)
        }

    def _unjudged(self, claim: Claim) -> dict[str, Any] | None:
        """Return the verdict on a published number that is not comparable at this scale, None if it is comparable."""
        if claim["value"] == MISSING:
            return {"verdict": UNREAD}
        if not self._spec["reproduces"] or "stand_in" in claim:
            return {"verdict": NOT_COMPARABLE, "published": claim["value"]}
        return None

    def _difference(self, claim: Claim) -> dict[str, Any]:
        """Judge a published difference between two methods."""
        unjudged = self._unjudged(claim)
        if unjudged is not None:
            return unjudged
        paired = self._paired(claim)
        if paired is None or _rows(paired) < MINIMUM_SEEDS:
            verdict = "not run" if paired is None else "inconclusive"
            return {"verdict": verdict, "published": claim["value"]}
        measured, rounding = difference(list(paired.values())), 0.5 * 10 ** -claim["decimals"] / 100
        half = (measured.high - measured.low) / 2
        interval = combined(measured.estimate - claim["value"] / 100, half, rounding=rounding)
        counted = {dataset: left.shape[1] for dataset, (left, _) in paired.items()}
        return self._against(interval, claim, seeds=_rows(paired), counted=counted)

    def _value(self, claim: Claim) -> dict[str, Any]:
        unjudged = self._unjudged(claim)
        if unjudged is not None:
            return unjudged
        if claim["metric"] in TRAINING_METRICS:
            return {"verdict": "inconclusive", "published": claim["value"]}
        outcomes = self._outcomes(claim, operands(claim)[0])
        datasets = _complete(claim, set(outcomes))
        seeds = _seeds(datasets, set(outcomes))
        if not seeds:
            return {"verdict": "not run", "published": claim["value"]}
        if len(seeds) < MINIMUM_SEEDS:
            return {"verdict": "inconclusive", "published": claim["value"], "seeds": len(seeds)}
        accuracies = {d: [float(outcomes[d, seed].correct.mean()) for seed in seeds] for d in datasets}
        counted = {dataset: len(outcomes[dataset, seeds[0]].image) for dataset in datasets}
        interval = value_interval(
            list(accuracies.values()),
            images=list(counted.values()),
            published=claim["value"] / 100,
            published_images=[self._published_images(claim, d, counted[d]) for d in datasets],
            decimals=claim["decimals"],
        )
        return self._against(interval, claim, seeds=len(seeds), counted=counted)

    def _published_images(self, claim: Claim, dataset: str, counted: int) -> int:
        """Return the number of test images behind a published value: from its claim, else the size of the split."""
        images: int = claim.get("images", {}).get(dataset) or self._splits.get(dataset, counted)
        return images

    def _against(self, interval: Interval, claim: Claim, *, seeds: int, counted: dict[str, int]) -> dict[str, Any]:
        margin = claim["margin"] / 100
        common = {"published": claim["value"], "seeds": seeds, **vars(interval)}
        published = {dataset: self._published_images(claim, dataset, images) for dataset, images in counted.items()}
        if counted != published:
            # The subsets differ. The interval allows for both numbers of images and is reported, but gives no verdict.
            return {"verdict": NOT_COMPARABLE, "images": counted, "published_images": published, **common}
        return {
            "verdict": judge_value(interval, margin),
            "at_half_margin": judge_value(interval, margin / 2),
            "at_double_margin": judge_value(interval, margin * 2),
            **common,
        }


def _complete(claim: Claim, keys: set[tuple[str, int]]) -> list[str]:
    """Return the measured data sets; none of them if the claim names a data set that is not measured."""
    measured, named = {dataset for dataset, _ in keys}, datasets_of(claim)
    return sorted(measured) if named is None or set(named) <= measured else []


def _seeds(datasets: list[str], keys: set[tuple[str, int]]) -> list[int]:
    """Return the seeds that are measured on every data set."""
    return sorted({seed for d, seed in keys if d in datasets and all((other, seed) in keys for other in datasets)})


def _rows(paired: dict[str, tuple[np.ndarray, np.ndarray]]) -> int:
    return len(next(iter(paired.values()))[0])


def _correct(outcome: Outcome, images: np.ndarray) -> np.ndarray:
    """Return for each of `images` whether it is classified correctly."""
    order = np.argsort(outcome.image)
    return outcome.correct[order][np.searchsorted(outcome.image[order], images)]


def judged(spec: dict[str, Any], files: dict[str, Path]) -> dict[str, Any]:
    """Return the content of verdicts.json: each of the paper's own claims, and its tables of published values.

    A table has the counts of its verdicts, and at the paper's own scale each cell; elsewhere all cells are alike.
    """
    judge = Judge(spec, files)
    head = {"scale": spec["scale"], "paper": spec["paper"]}
    content: dict[str, Any] = {**head, "verdicts": [judge.judge(claim) for claim in spec["claims"]]}
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
