"""`robustft recheck`: draw some ledgers and trainings of somebody's results, run them again, and compare."""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robustft.cost import CostModel
from robustft.errors import IntegrityError, RobustftError
from robustft.escape import terminal
from robustft.files import digest_of, read_json, sha256_file
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.environment import circumstances, environment
from robustft.provenance.statements import RECHECK, make_statement
from robustft.recheck.accuracy import compare_accuracies, spreads
from robustft.recheck.draw import CONFIDENCE, Draw, draw, shares, would_show
from robustft.recheck.machines import other_kind
from robustft.recheck.outcomes import DIFFERS, FALSE_ALARM, FLIP_SHARE, IDENTICAL, Comparison, compare_ledgers
from robustft.recheck.recorded import Recorded
from robustft.recheck.workspace import SOURCES, Workspace

LEDGERS = 20
"""Ledgers that are drawn unless something else is asked for."""

START_UP_S = 5.0


@dataclass(frozen=True)
class Limits:
    """How much is run again: numbers of ledgers and trainings, or the seconds that all of it may take."""

    ledgers: int | None = None
    trainings: int = 0
    budget_s: float | None = None


class _Recheck:
    """One recheck: the draw, the runs, and what they showed."""

    def __init__(self, recorded: Recorded, workspace: Workspace, *, seed: str, log: Callable[[str], None]) -> None:
        self.recorded, self.plan, self.workspace = recorded, recorded.plan, workspace
        self.seed, self.log = seed, log
        self.model = CostModel(self.plan)
        self.checked: dict[str, list[dict[str, Any]]] = {"sources": [], "ledgers": [], "trainings": []}
        self.groups = 1

    # -- how much --------------------------------------------------------------------------------------------------

    def draws(self, limits: Limits) -> tuple[Draw, Draw]:
        """Return the drawn ledgers and trainings. A budget chooses the number of ledgers, not which."""
        claims = self.recorded.claimed
        ledgers, trainings = ([step.key for step in self.plan.of_kind(kind)] for kind in ("attack", "train"))
        drawn = draw(trainings, claims, count=limits.trainings, seed=self.seed)
        count = LEDGERS if limits.ledgers is None else limits.ledgers
        if limits.ledgers is None and limits.budget_s is not None:
            count = self._affordable(limits.budget_s - sum(map(self._cost, drawn.keys)), ledgers, claims)
        return draw(ledgers, claims, count=count, seed=self.seed), drawn

    def _affordable(self, budget_s: float, keys: list[str], claims: set[str]) -> int:
        """Return how many ledgers fit on average. The draw must not depend on what the drawn ones cost."""
        sources = sum(self.model.seconds(step) for kind in SOURCES for step in self.plan.of_kind(kind))
        left = budget_s - START_UP_S - sources
        groups = [[key for key in keys if (key in claims) == claimed] for claimed in (True, False)]
        means = [sum(map(self._cost, group)) / max(len(group), 1) for group in groups]

        def cost(count: int) -> float:
            return sum(n * mean for n, mean in zip(shares(count, *map(len, groups)), means, strict=True))

        count = next((count for count in range(len(keys), 0, -1) if cost(count) <= left), 0)
        if not count:
            raise RobustftError(
                "the budget does not allow one ledger",
                expected=f"about {START_UP_S + sources + cost(1):.0f} s at least, by the cost model",
                observed=f"{max(left, 0):.0f} s are left for ledgers",
                next_step="give a larger --budget, or --ledgers 1",
            )
        return count

    def _cost(self, key: str) -> float:
        return self.model.seconds(self.plan.steps[key])

    # -- what is run -----------------------------------------------------------------------------------------------

    def run(self, ledgers: Draw, trainings: Draw) -> None:
        """Make the sources, run the drawn steps again and compare each."""
        drawn = [self.plan.steps[key] for key in (*ledgers.keys, *trainings.keys)]
        sources = [step for step in self.plan.needed(drawn) if step.kind in SOURCES]
        self.groups = max(1, sum(len(step.spec["attacks"]) for step in drawn if step.kind == "attack"))
        works: list[tuple[str, Step, Callable[[Step], dict[str, Any]]]] = [
            *(("sources", step, self._source) for step in sources),
            *(("ledgers", self.plan.steps[key], self._ledger) for key in ledgers.keys),
            *(("trainings", self.plan.steps[key], self._training) for key in trainings.keys),
        ]
        left = sum(self._cost(step.key) for _, step, _ in works)
        estimated, started = 0.0, time.monotonic()
        for number, (what, step, work) in enumerate(works, start=1):
            try:
                found = work(step)
            except IntegrityError as error:
                found = {"status": DIFFERS, "differences": [" ".join(str(error).split())]}
            self.checked[what].append({"step": step.key, **found})
            estimated, left = estimated + self._cost(step.key), left - self._cost(step.key)
            passed = time.monotonic() - started
            rest = f", about {left * passed / estimated:.0f} s left" if number < len(works) and estimated else ""
            self.log(f"{number}/{len(works)} {step.key}: {found['status']}{rest}")
            for text in found.get("differences", []):
                self.log(f"  {terminal(text)}")

    def _source(self, step: Step) -> dict[str, Any]:
        """Make data or weights from their published source, and compare them with the recorded ones."""
        folder = self.workspace.source(step)
        found = Comparison()
        for role, path in step.outputs.items():
            ours = sha256_file(folder / path.removeprefix("results/"))
            theirs = (self.recorded.record(step).output(path) or {}).get("sha256")
            if ours != theirs:
                found.differs(f"{path}: recorded {str(theirs)[:16]}..., made from the source {ours[:16]}... ({role})")
        return {"status": found.status, "differences": found.differences}

    def _ledger(self, step: Step) -> dict[str, Any]:
        """Attack again, with the recorded checkpoint and the verifier's data."""
        recorded, theirs = self.recorded.record(step), self.recorded.output(step, "ledger")
        again = self.workspace.run(step)
        other = other_kind(recorded, again)
        ours = self.workspace.folder / step.outputs["ledger"]
        found = compare_ledgers(theirs, ours, same_kind=not other, groups=self.groups)
        return {"record": recorded.sha256, "other": other, **asdict(found)}

    def _training(self, step: Step) -> dict[str, Any]:
        """Train again from the recorded initial weights; if the bytes differ, attack the new checkpoint too."""
        recorded, room = self.recorded.record(step), self.workspace.room(f"trained-{digest_of(step.key)[:16]}")
        again = room.run(step)
        other, path = other_kind(recorded, again), step.outputs["checkpoint"]
        hashes = [str((record.output(path) or {}).get("sha256")) for record in (recorded, again)]
        found = Comparison(status=IDENTICAL)
        if hashes[0] != hashes[1]:
            if other:
                found = self._accuracy(step, room)
            else:
                found.differs(f"{path}: recorded {hashes[0][:16]}..., trained again {hashes[1][:16]}...")
        return {"record": recorded.sha256, "other": other, **asdict(found)}

    def _accuracy(self, step: Step, room: Workspace) -> Comparison:
        own = [one for one in self.plan.evaluations if one.run.steps == (step,) and not one.run.derivation]
        if not own:
            return Comparison(status="not judged")
        one = min(own, key=lambda one: self.model.seconds(one.step))
        numbers = read_json(self.recorded.output(self.plan.step("numbers", one.run.paper), "numbers"))
        room.run(one.step, kept=step)
        theirs, ours = self.recorded.output(one.step, "ledger"), room.folder / one.step.outputs["ledger"]
        return compare_accuracies(theirs, ours, spreads(numbers, one.step.id), groups=len(one.step.spec["attacks"]))


def _population(draws: Draw) -> dict[str, Any]:
    """Return the sizes of a draw, and of how many false steps it would have had one."""
    return {
        "claimed": asdict(draws.claimed),
        "others": asdict(draws.others),
        "would_show": {"all": would_show(draws.strata), "claimed": would_show([draws.claimed])},
    }


def recheck(
    plan: Plan,
    recorded: Recorded,
    *,
    seed: str,
    limits: Limits,
    own: Path | None = None,
    scratch: Path = Path("scratch"),
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run a sample of recorded results again, and return a statement of what it showed (`provenance/statements.py`).

    Args:
        plan: the plan of this checkout.
        recorded: the results that are checked; nothing is written there.
        seed: decides the draw; the verifier's own.
        limits: how much is run again.
        own: a results folder of the verifier's, whose decoded data and converted weights are used.
        scratch: a folder for the re-run; an interrupted recheck of the same seed goes on in it.
        log: gets lines about the progress.
    """
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    folder = (scratch / f"recheck-{digest_of([recorded.root, seed])[:16]}").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "log.txt", "a", encoding="utf-8") as lines:
        workspace = Workspace(folder, recorded, own, log=lambda line: print(line, file=lines, flush=True))
        work = _Recheck(recorded, workspace, seed=seed, log=log)
        ledgers, trainings = work.draws(limits)
        log(f"{len(ledgers.keys)} ledgers, {len(trainings.keys)} trainings of root {recorded.root}, seed {seed}")
        log(f"they are run again in {folder}; stopped, the same seed goes on there")
        work.run(ledgers, trainings)
    shutil.rmtree(folder, ignore_errors=True)
    about = {
        "seed": seed,
        "sources": {"checked": work.checked["sources"]},
        "ledgers": {**_population(ledgers), "checked": work.checked["ledgers"]},
        "trainings": {**_population(trainings), "checked": work.checked["trainings"]},
        "rule": {"confidence": CONFIDENCE, "flip_share": FLIP_SHARE, "false_alarm": FALSE_ALARM},
        "machine": {part: circumstances()[part] for part in ("machine", "processor", "cores", "system")},
        "environment": environment(),
        "started": started,
        "ended": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    return make_statement(RECHECK, plan.scale, recorded.manifests, about)
