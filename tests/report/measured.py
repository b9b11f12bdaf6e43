"""A paper's measurements made up by hand: ledgers, numbers.json, and the specification of its verdicts."""

from pathlib import Path
from typing import Any

import numpy as np

from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.files import write_json
from robustft.report.numbers import compute
from robustft.report.verdicts import Judge
from tests.report.outcomes import PASSED


def outcome(attack: str, correct: list[int], *, order: np.ndarray | None = None, first: int = 0) -> Outcome:
    """`correct` has one digit an image; all labels are 0."""
    n = len(correct)
    order = np.arange(n) if order is None else order
    prediction = np.array([0 if c else 1 for c in correct], np.int16)
    arrays = (np.arange(first, first + n, dtype=np.int32), np.zeros(n, np.int16), prediction, np.zeros(n))
    return Outcome(attack, *(array[order] for array in arrays), np.array([""] * n, dtype=object))


def kept(correct: int, images: int) -> list[int]:
    """The first `correct` of so many images stay correct."""
    return [1] * correct + [0] * (images - correct)


class World:
    """Measurements of one paper; `judge()` reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.members: list[dict[str, Any]] = []
        self.runs: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.trainings: list[dict[str, Any]] = []
        self.paths: dict[str, Path] = {}
        self.checks: dict[str, Any] = {}

    def add(self, method: str, seed: int, attacks: dict[str, list[int]], *, dataset: str = "d", **more: Any) -> None:
        """Measure a run: attacks with the outcome of each image."""
        order, first = more.pop("order", None), more.pop("first", 0)
        parts = {"experiment": "main", "trained_on": dataset, "transfer_eval": False, "evaluation": "main"}
        parts |= {"split": "test", "threat": {"norm": "linf", "eps": "1/5"}, "split_images": None, **more}
        name = f"{method}-{seed}-{dataset}-{parts['evaluation']}-{parts['split']}-{parts['experiment']}"
        self.paths[name] = self.folder / f"{name}.parquet"
        outcomes = [outcome(attack, correct, order=order, first=first) for attack, correct in attacks.items()]
        write_ledger(self.paths[name], [one.table() for one in outcomes], checks={"model": PASSED})
        if parts["split_images"] is None:
            parts["split_images"] = max(map(len, attacks.values()))
        self.members = [one for one in self.members if one["ledger"] != name]  # the last one counts
        self.members.append(
            {"ledger": name, "dataset": dataset, "method": method, "seed": seed, **parts, "attacks": list(attacks)}
        )
        self.run(method, seed, dataset=parts["trained_on"], experiment=parts["experiment"])

    def run(self, method: str, seed: int, *, dataset: str = "d", experiment: str = "main", **more: Any) -> None:
        """Say what a run's model comes from; by default a training of its own."""
        key = (experiment, dataset, method, seed)
        about = dict(zip(("experiment", "dataset", "method", "seed"), key, strict=True))
        self.runs[key] = {**about, "models": ["/".join(map(str, key))], "given": [], **self.runs.get(key, {}), **more}

    def needs(self, metric: str, **values: list[float]) -> None:
        """Say what the trainings of each method needed, by seed."""
        for method, found in values.items():
            for seed, value in enumerate(found):
                about = {"experiment": "main", "dataset": "d", "method": method, "seed": seed}
                self.trainings.append({**about, "metric": metric, "value": value, "unit": metric})
                self.run(method, seed)

    def spec(self, *, reproduces: bool = True, classes: int = 100) -> dict[str, Any]:
        """Return the specification of a verdicts step, without claims."""
        head = {"scale": "s", "paper": "p", "reproduces": reproduces, "margins": {"1 points": "because"}}
        datasets = {one["dataset"] for one in self.members}
        return {
            **head,
            "members": self.members,
            "runs": list(self.runs.values()),
            "classes": dict.fromkeys(datasets, classes),
            "clean": ["clean"],
        }

    def files(self) -> dict[str, Path]:
        """Write numbers.json and return the input files."""
        spec = {"scale": "s", "paper": "p", "reproduces": True, "controls": {}, "trainings": [], "checks": self.checks}
        content = compute({**spec, "members": self.members}, self.paths)
        path = self.folder / "numbers.json"
        write_json(path, {**content, "trainings": self.trainings})
        return {**self.paths, "numbers": path}

    def judge(self, **settings: Any) -> Judge:
        """Return the judge of these measurements."""
        return Judge(self.spec(**settings), self.files())


def ordering(left: str, right: str | list[str], **more: Any) -> dict[str, Any]:
    """A claim that the left method has more of the attack `aa`."""
    claim = {"id": "c", "statement": "s", "source": "p", "confidence": "direct", "kind": "ordering"}
    return {**claim, "experiment": "main", "left": left, "right": right, "metric": "aa", **more}


def value(published: object, **more: Any) -> dict[str, Any]:
    """A published accuracy of the method `strong` on the data set `d`."""
    claim = {"id": "c", "statement": "s", "source": "p", "confidence": "secondary", "kind": "value", "margin": 1.0}
    claim |= {"experiment": "main", "dataset": "d", "method": "strong", "metric": "aa"}
    return {**claim, "value": published, "decimals": 1, **more}


def average(published: object, **more: Any) -> dict[str, Any]:
    """The same over data sets."""
    return {key: part for key, part in value(published, **more).items() if key != "dataset"}


def published_difference(published: object, **more: Any) -> dict[str, Any]:
    """A published difference between `strong` and `weak`."""
    claim = {**ordering("strong", "weak"), "kind": "difference", "value": published, "decimals": 1, "margin": 1.0}
    return {**claim, **more}
