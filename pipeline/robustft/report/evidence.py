"""What was measured of each side of a claim, and what must be said of it: runs, gates, failed checks.

Outcomes come from ledgers, everything else from the paper's numbers.json and the histories of its runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustft.evaluate.ledger import Outcome, read_ledger
from robustft.files import read_json
from robustft.report.claim_matching import datasets_of, experiments_of, matching_members
from robustft.report.claims import Claim
from robustft.report.numbers import joined
from robustft.report.statistics import mean, wilson
from robustft.report.training_metrics import TRAINING_METRICS, kept_validation, read_history

Key = tuple[str, int]
"""Data set and seed."""

RunKey = tuple[str, str, str, int]
"""Experiment, data set that the run was trained on, method, seed."""


@dataclass(frozen=True)
class Side:
    """One method under one metric, as far as it was measured."""

    method: str
    metric: str
    outcomes: Mapping[Key, Outcome]
    """Empty for a metric of training."""
    values: Mapping[Key, float]
    """Accuracies; of a metric of training its values."""
    runs: Mapping[Key, RunKey]
    split_images: Mapping[str, int]
    """The number of images of the whole split, by data set."""
    evaluations: Mapping[str, str]
    """The evaluation that measured it, by data set."""

    def seeds(self, datasets: Sequence[str]) -> list[int]:
        """Return the seeds that are measured on every one of these data sets."""
        named = {seed for dataset, seed in self.values if dataset in datasets}
        return sorted(seed for seed in named if all((dataset, seed) in self.values for dataset in datasets))


def datasets_measured(claim: Claim, *sides: Side) -> list[str]:
    """Return the data sets measured on every side; none of them if the claim names one that is not measured."""
    measured = set.intersection(*({dataset for dataset, _ in side.values} for side in sides))
    named = datasets_of(claim)
    return sorted(measured) if named is None or set(named) <= measured else []


class Evidence:
    """Finds what speaks for the claims of one paper.

    Args:
        spec: a verdicts step's specification.
        files: its input files by role: ledgers, histories, and numbers.json.
    """

    def __init__(self, spec: dict[str, Any], files: Mapping[str, Path]) -> None:
        self._files, self._classes, self._clean = files, spec["classes"], set(spec["clean"])
        self._members: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for member in spec["members"]:
            self._members[member["method"]].append(member)
        self._runs = {_run_key(run): run for run in spec["runs"]}
        numbers = read_json(files["numbers"])
        self._measured: dict[RunKey, list[dict[str, Any]]] = defaultdict(list)
        for one in numbers["measurements"]:
            self._measured[one["experiment"], one["trained_on"], one["method"], one["seed"]].append(one)
        self._trainings = numbers["trainings"]
        self._ledgers: dict[str, dict[str, Outcome]] = {}

    # -- measurements ----------------------------------------------------------------------------------------------

    def side(self, claim: Claim, methods: Sequence[str], metric: str) -> Side | None:
        """Return a side; of several methods the one that is best on validation images.

        None if validation images tell of none of the methods that were measured which is best.
        """
        found = [one for one in (self._side(claim, method, metric) for method in methods) if one.values]
        if len(found) < 2:
            return found[0] if found else self._side(claim, methods[0], metric)
        scores = [self._validation(side) for side in found]
        known = [score for score in scores if score is not None]
        return found[scores.index(max(known))] if len(known) == len(found) else None

    def _side(self, claim: Claim, method: str, metric: str) -> Side:
        if metric in TRAINING_METRICS:
            return self._training_side(claim, method, metric)
        members = matching_members(claim, self._members[method], (method, metric))
        parts: dict[Key, list[Outcome]] = defaultdict(list)
        for one in members:
            parts[one["dataset"], one["seed"]].append(self._ledger(one["ledger"])[metric])
        outcomes = {key: joined(of_key) for key, of_key in parts.items()}
        runs = {
            (one["dataset"], one["seed"]): (one["experiment"], one["trained_on"], method, one["seed"])
            for one in members
        }
        values = {key: float(outcome.correct.mean()) for key, outcome in outcomes.items()}
        split_images = {one["dataset"]: one["split_images"] for one in members}
        evaluations = {one["dataset"]: one["evaluation"] for one in members}
        return Side(method, metric, outcomes, values, runs, split_images, evaluations)

    def _training_side(self, claim: Claim, method: str, metric: str) -> Side:
        named = datasets_of(claim)
        entries = [
            one
            for one in self._trainings
            if (one["method"], one["metric"]) == (method, metric)
            and one["experiment"] in experiments_of(claim)
            and (named is None or one["dataset"] in named)
        ]
        values = {(one["dataset"], one["seed"]): float(one["value"]) for one in entries}
        runs = {(one["dataset"], one["seed"]): _run_key(one) for one in entries}
        return Side(method, metric, {}, values, runs, {}, {})

    def _ledger(self, name: str) -> dict[str, Outcome]:
        if name not in self._ledgers:
            self._ledgers[name] = read_ledger(self._files[name])
        return self._ledgers[name]

    def _validation(self, side: Side) -> float | None:
        """Return the mean validation accuracy of the kept models; None if one of them has none on record."""
        shares = []
        for run in (self._runs[key] for key in side.runs.values()):
            if "history" in run:
                shares.append(kept_validation(read_history(self._files[run["history"]]), run["selection"]))
        known = [share for share in shares if share is not None]
        return mean(known) if len(known) == len(side.runs) else None

    # -- what must be said -----------------------------------------------------------------------------------------

    def share_runs(self, left: Side, right: Side) -> bool:
        """Tell whether models of equal seeds on both sides come from a common training, pre-training aside."""
        common = set(left.runs) & set(right.runs)
        return any(self._models(left, key) & self._models(right, key) for key in common)

    def _models(self, side: Side, key: Key) -> set[str]:
        return set(self._runs[side.runs[key]]["models"])

    def given(self, *sides: Side) -> list[str]:
        """Return the pre-trained checkpoints that the models of these sides start from."""
        runs = (self._runs[key] for side in sides for key in side.runs.values())
        return sorted({name for run in runs for name in run["given"]})

    def published(self, side: Side) -> bool:
        """Tell whether the models of a side are published weights as they are, in which no seed has a part."""
        return all(self._runs[key].get("published", False) for key in side.runs.values())

    def untrained(self, *sides: Side) -> list[str]:
        """Name each run whose clean accuracy may be that of guessing.

        It may be if the lower bound of Wilson's 95 % interval is at or below one over the number of classes, on the
        test images of the data set that the run was trained on. Where these are not measured, it must be so on every
        other data set: a model may know nothing of one of them.
        """
        keys = dict.fromkeys(key for side in sides for key in side.runs.values())
        return [text for key in keys if (text := self._guesses(key)) is not None]

    def _guesses(self, key: RunKey) -> str | None:
        clean = [one for one in self._measured[key] if one["attack"] in self._clean and one["split"] == "test"]
        own = [one for one in clean if not one["transfer_eval"]]
        guessed = [
            one for one in own or clean if wilson(one["correct"], one["images"])[0] <= 1 / self._classes[one["dataset"]]
        ]
        if not guessed or (not own and len(guessed) < len(clean)):
            return None
        _, _, method, seed = key
        told = (f"{one['correct']} of {one['images']} of {one['dataset']}" for one in guessed)
        return f"{method}, seed {seed}: {', '.join(told)}"

    def failed_checks(self, *sides: Side) -> list[str]:
        """Return the sanity checks that failed on each side, with the number of measurements in which they did."""
        told = []
        for side in sides:
            measurements = [one for (dataset, _), key in side.runs.items() for one in self._of(side, dataset, key)]
            failed = Counter(check["check"] for one in measurements for check in one["checks"] if not check["ok"])
            told += [
                f"{side.method} under {side.metric}: {check} failed in {count} of {len(measurements)} measurements"
                for check, count in sorted(failed.items())
            ]
        return list(dict.fromkeys(told))

    def _of(self, side: Side, dataset: str, key: RunKey) -> Iterator[dict[str, Any]]:
        """Yield the entry of numbers.json of one run on one side."""
        place = (dataset, side.metric, side.evaluations.get(dataset))
        for one in self._measured[key]:
            if (one["dataset"], one["attack"], one["evaluation"]) == place:
                yield one


def _run_key(run: Mapping[str, Any]) -> RunKey:
    """Return the key of a run from an entry that has its data set of training as `dataset`."""
    return run["experiment"], run["dataset"], run["method"], run["seed"]
