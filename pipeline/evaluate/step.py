"""The `attack` step: one run's checkpoint, some attacks, some images, one ledger.

Work is cut into (attack, shard) pieces, and AutoAttack's shards again into its four attacks. Each finished piece is
a file in the step's scratch folder, so a killed job loses at most the piece it was working on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from pipeline.attacks.autoattack import STANDARD, AutoAttackShard, ShardOutcome, targeted_classes
from pipeline.attacks.objectives import OBJECTIVES
from pipeline.attacks.pgd import Budget, pgd
from pipeline.attacks.threat import ThreatModel
from pipeline.context import Context, Progress
from pipeline.data.imagefile import load_split
from pipeline.evaluate.checks import model_checks, perturbation_checks, worst
from pipeline.evaluate.ledger import Outcome, read_piece, write_ledger, write_piece
from pipeline.models.checkpoint import load_classifier
from pipeline.models.classifier import Classifier
from pipeline.train.batches import Images
from pipeline.train.device import describe, device_for
from pipeline.train.randomness import counter_seed, generator

THROUGH: dict[str, Callable[[Classifier], nn.Module]] = {"exported_model": lambda model: model}
"""What an attack's gradient or query sees, made from the evaluated model: the `through` of config/attacks.yaml."""


def attack(spec: dict[str, Any], context: Context) -> None:
    """Run every attack of the specification on every shard and write the ledger."""
    with device_for(spec["device"], threads=spec["threads"], say=context.say) as device:
        context.facts.update(describe(device))
        Evaluator(spec, context, device).run()


class Evaluator:
    """Attacks one model shard by shard, keeping each finished piece."""

    def __init__(self, spec: dict[str, Any], context: Context, device: torch.device) -> None:
        self.spec, self.context, self.device = spec, context, device
        model, about = load_classifier(context.inputs["checkpoint"])
        self.model: Classifier = model.to(device).eval().requires_grad_(False)
        self.classes: int = about["classes"]
        self.threat = ThreatModel.of(spec["threat"])
        split = load_split(context.inputs["data"], dataset=spec["dataset"], split=spec["split"])
        self.images, self.indices = Images.of(split, device), split.indices

    def shards(self) -> Iterator[tuple[int, int]]:
        """Yield (start, end) positions within the split."""
        first, last = self.spec["images"]
        for start in range(first, last, self.spec["shard_images"]):
            yield start, min(start + self.spec["shard_images"], last)

    def run(self) -> None:
        """Run all pieces, those already stored excepted, and assemble the ledger."""
        if any(attack["algorithm"] == "autoattack" for attack in self.spec["attacks"]):
            self.context.facts["autoattack_targets"] = targeted_classes(self.classes)
        shards = list(self.shards())
        pieces = [(attack, shard) for attack in self.spec["attacks"] for shard in shards]
        progress = Progress(self.context, total=len(pieces), unit="shard")
        tables: list[pa.Table] = []
        checks: dict[str, dict[str, float]] = {"model": self._model_checks()}
        for number, (attack, shard) in enumerate(pieces):
            table, found = self._piece(attack, shard)
            tables.append(table)
            checks[attack["name"]] = worst(checks.get(attack["name"], {}), found)
            correct = np.asarray(table["correct"]).mean()
            progress.update(number + 1, f"{attack['name']} {100 * correct:.1f} % on this shard")
        write_ledger(self.context.outputs["ledger"], tables, checks=checks)

    def _model_checks(self) -> dict[str, float]:
        first, last = self.spec["images"]
        x, y = self.images.take(slice(first, min(last, first + 64)))
        return model_checks(self.model, x, y, threat=self.threat)

    def _piece(self, attack: dict[str, Any], shard: tuple[int, int]) -> tuple[pa.Table, dict[str, float]]:
        """Return one (attack, shard) as rows and checks, from its stored file if there is a whole one."""
        path = self._piece_path(attack, shard)
        stored = read_piece(path)
        if stored is not None:
            return stored
        if path.exists():
            self.context.say(f"the stored piece {path.name} is damaged; it is made again")
        x, y = self.images.take(slice(*shard))
        if attack["algorithm"] == "autoattack":
            outcome, found = self._autoattack(attack, shard, x, y)
        else:
            outcome, found = self._gradient(attack, shard, x, y)
        table = outcome.table()
        write_piece(path, table, checks=found)
        return table, found

    def _piece_path(self, attack: dict[str, Any], shard: tuple[int, int], *, stage: int | None = None) -> Path:
        """Name the file of a finished piece, or of an ensemble's outcome after some of its attacks."""
        after = f".after-{stage}" if stage else ""
        return self.context.scratch / f"{attack['name']}.{shard[0]}-{shard[1]}{after}.piece"

    def _outcome(
        self, attack: dict[str, Any], shard: tuple[int, int], y: Tensor, prediction: Tensor, distance: Tensor,
        broken_by: list[str] | None = None,
    ) -> Outcome:  # fmt: skip
        return Outcome(
            attack=attack["name"],
            image=self.indices[slice(*shard)].astype(np.int32),
            label=y.cpu().numpy().astype(np.int16),
            prediction=prediction.cpu().numpy().astype(np.int16),
            distance=distance.cpu().numpy(),
            broken_by=np.array(broken_by or [""] * len(y), dtype=object),
        )

    def _gradient(
        self, attack: dict[str, Any], shard: tuple[int, int], x: Tensor, y: Tensor
    ) -> tuple[Outcome, dict[str, float]]:
        x_adv = x
        if attack["algorithm"] == "pgd":
            x_adv = pgd(
                THROUGH[attack["through"]](self.model),
                x,
                budget=Budget.of(self.spec["threat"], attack),
                objective=partial(OBJECTIVES[attack["objective"]], y=y),
                start=attack["start"],
                generator=generator(self.device, self.spec["seed"], "attack", attack["name"], shard[0]),
            )
        with torch.no_grad():
            prediction = self.model(x_adv).argmax(1)
        found = perturbation_checks(self.model, x_adv, x, prediction, threat=self.threat)
        return self._outcome(attack, shard, y, prediction, self.threat.distance(x_adv, x)), found

    def _autoattack(
        self, attack: dict[str, Any], shard: tuple[int, int], x: Tensor, y: Tensor
    ) -> tuple[Outcome, dict[str, float]]:
        stored = self._resumed(attack, shard, x)
        found: dict[str, float] = dict(stored[1]) if stored else {}

        def inspect(x_adv: Tensor, clean: Tensor, prediction: Tensor) -> None:
            found.update(worst(found, perturbation_checks(self.model, x_adv, clean, prediction, threat=self.threat)))

        def rows(state: ShardOutcome) -> Outcome:
            return self._outcome(attack, shard, y, state.prediction, state.distance, state.broken_by)

        def store(state: ShardOutcome) -> None:
            path = self._piece_path(attack, shard, stage=state.attacks_done)
            write_piece(path, rows(state).table(), checks=found)
            left, done = int(state.robust(y).sum()), STANDARD[state.attacks_done - 1]
            self.context.say(f"images {shard[0]}-{shard[1]}: {left}/{len(y)} robust after {done}")

        ensemble = AutoAttackShard(
            THROUGH[attack["through"]](self.model),
            threat=self.threat,
            classes=self.classes,
            seed=counter_seed(self.spec["seed"], "autoattack", shard[0]) % 2**31,
            device=self.device,
            inspect=inspect,
        )
        outcome = ensemble.run(x, y, stored[0] if stored else ensemble.clean(x), after=store)
        return rows(outcome), found

    def _resumed(
        self, attack: dict[str, Any], shard: tuple[int, int], x: Tensor
    ) -> tuple[ShardOutcome, dict[str, float]] | None:
        """Return the shard's stored outcome and checks after as many attacks as were done before the job died."""
        for done in range(len(STANDARD), 0, -1):
            stored = read_piece(self._piece_path(attack, shard, stage=done))
            if stored is None:
                continue
            table, checks = stored
            outcome = ShardOutcome(
                prediction=torch.tensor(table["prediction"].to_pylist(), device=x.device),
                distance=torch.tensor(table["distance"].to_pylist(), device=x.device),
                broken_by=[value or "" for value in table["broken_by"].to_pylist()],
                attacks_done=done,
            )
            return outcome, checks
        return None
