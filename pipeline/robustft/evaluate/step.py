"""The `attack` step: one run's checkpoint, some attacks, some images, one ledger.

The work is cut into pieces: one for each attack and shard, and for AutoAttack one for each of its four attacks. Each
finished piece is a file in the step's scratch folder. A killed job loses at most the piece that it was working on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from robustft.attacks.autoattack import (
    ITERATIONS,
    SQUARE_QUERIES,
    STANDARD,
    AutoAttackShard,
    ShardOutcome,
    attacks_for,
    targeted_classes,
)
from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.objectives import OBJECTIVES
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import Perturbed, ThreatModel
from robustft.errors import RobustftError
from robustft.evaluate.checks import model_checks, perturbation_checks, unmoved_checks, worst
from robustft.evaluate.ledger import Outcome, read_piece, write_ledger, write_piece
from robustft.evaluate.target import Subject
from robustft.models.classifier import attack_target
from robustft.runtime.components import locate
from robustft.runtime.context import Context, Progress
from robustft.runtime.device import describe, device_for, peak
from robustft.runtime.memory import give_back_freed
from robustft.runtime.randomness import counter_seed, generator
from robustft.speed.optimizations import Optimizations, apply_optimizations, memory_format

FEW_BYTES = 1 << 20
"""Bytes of a shard's images up to which freed memory is not returned: such small tensors leave no gaps in the heap."""

CHECKED_IMAGES = 64
"""Images on which the model is checked before the attacks."""


def attack(spec: dict[str, Any], context: Context) -> None:
    """Run every attack of the specification on every shard and write the ledger."""
    with device_for(spec["device"], threads=spec["threads"], log=context.log) as device:
        context.facts.update(describe(device))
        Evaluator(spec, context, Subject.of(spec, context.inputs, device), device).run()
        context.facts.update(peak(device))


class Evaluator:
    """Attacks one model shard by shard, keeping each finished piece."""

    def __init__(self, spec: dict[str, Any], context: Context, subject: Subject, device: torch.device) -> None:
        self.spec, self.context, self.device = spec, context, device
        self.classes, self.images, self.indices = subject.classes, subject.images, subject.indices
        self.model: nn.Module = subject.model.to(device).eval().requires_grad_(False)
        self.optimizations = Optimizations.of(spec["optimizations"])
        apply_optimizations(self.model, self.optimizations)
        self.layout = memory_format(self.model, self.optimizations)
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.threat = ThreatModel.of(spec["threat"])
        self.first = spec["images"][0]

    def shards(self) -> Iterator[tuple[int, int]]:
        """Yield (start, end) positions within the split."""
        first, last = self.spec["images"]
        for start in range(first, last, self.spec["shard_images"]):
            yield start, min(start + self.spec["shard_images"], last)

    def run(self) -> None:
        """Run all pieces that are not yet stored and assemble the ledger."""
        if any(attack["algorithm"] == "autoattack" for attack in self.spec["attacks"]):
            self.context.facts["autoattack_targets"] = targeted_classes(self.classes)
            self.context.facts["autoattack_attacks"] = list(attacks_for(self.classes))
        shards = list(self.shards())
        pieces = [(attack, shard) for attack in self.spec["attacks"] for shard in shards]
        progress = Progress(self.context, total=len(pieces), unit="shard")
        tables: list[pa.Table] = []
        checks: dict[str, dict[str, float]] = {"model": self._model_checks()}
        for number, (attack, shard) in enumerate(pieces):
            table, piece_checks = self._piece(attack, shard)
            tables.append(table)
            checks[attack["name"]] = worst(checks.get(attack["name"], {}), piece_checks)
            correct = np.asarray(table["correct"]).mean()
            progress.update(number + 1, f"{attack['name']} {100 * correct:.1f} % on this shard")
        write_ledger(self.context.outputs["ledger"], tables, checks=checks)

    def _rows_of(self, shard: tuple[int, int]) -> slice:
        """Return the slice of `self.images` and `self.indices` with these positions of the split."""
        return slice(shard[0] - self.first, shard[1] - self.first)

    def _model_checks(self) -> dict[str, float]:
        first, last = self.spec["images"]
        x, y = self.images.take(self._rows_of((first, min(last, first + CHECKED_IMAGES))))
        return model_checks(self.model, x, y, threat=self.threat)

    def _piece(self, attack: dict[str, Any], shard: tuple[int, int]) -> tuple[pa.Table, dict[str, float]]:
        """Return the rows and checks of one attack on one shard, from its stored file if that is whole."""
        path = self._piece_path(attack, shard)
        stored = read_piece(path)
        if stored is not None:
            self.context.take_over(path)
            return stored
        if path.exists():
            self.context.log(f"the stored piece {path.name} is damaged; it is made again")
        x, y = self.images.take(self._rows_of(shard))
        x = x.contiguous(memory_format=self.layout)
        if attack["algorithm"] == "autoattack":
            outcome, checks = self._autoattack(attack, shard, x, y)
        else:
            outcome, checks = self._gradient(attack, shard, x, y)
        table = outcome.table()
        write_piece(path, table, checks=checks)
        if x.nbytes > FEW_BYTES:
            give_back_freed()
        return table, checks

    def _piece_path(self, attack: dict[str, Any], shard: tuple[int, int], *, stage: int | None = None) -> Path:
        """Return the path of a finished piece, or of an ensemble's outcome after `stage` of its attacks."""
        after = f".after-{stage}" if stage else ""
        return self.context.scratch / f"{attack['name']}.{shard[0]}-{shard[1]}{after}.piece"

    def _outcome(
        self, attack: dict[str, Any], shard: tuple[int, int], y: Tensor, prediction: Tensor, distance: Tensor,
        broken_by: list[str] | None = None,
    ) -> Outcome:  # fmt: skip
        return Outcome(
            attack=attack["name"],
            image=self.indices[self._rows_of(shard)].astype(np.int32),
            label=y.cpu().numpy().astype(np.int16),
            prediction=prediction.cpu().numpy().astype(np.int16),
            distance=distance.cpu().numpy(),
            broken_by=np.array(broken_by or [""] * len(y), dtype=object),
        )

    def _gradient(
        self, attack: dict[str, Any], shard: tuple[int, int], x: Tensor, y: Tensor
    ) -> tuple[Outcome, dict[str, float]]:
        threat = self._threat(attack)
        made = x if attack["algorithm"] == "none" else self._adversarial(attack, shard, x, y)
        x_adv = made.images if isinstance(made, Perturbed) else made
        if x_adv.shape != x.shape:
            raise RobustftError(
                f"the attack '{attack['name']}' changes the shape of images",
                where=attack.get("implementation"),
                expected=tuple(x.shape),
                observed=tuple(x_adv.shape),
            )
        distance = made.distance if isinstance(made, Perturbed) else threat.distance(x_adv, x)
        with torch.no_grad():
            prediction = self.model(x_adv).argmax(1)
        checks = perturbation_checks(self.model, x_adv, x, prediction, threat=threat, distance=distance)
        return self._outcome(attack, shard, y, prediction, distance), checks

    def _adversarial(self, attack: dict[str, Any], shard: tuple[int, int], x: Tensor, y: Tensor) -> Tensor | Perturbed:
        """Return adversarial images of the shape of `x`. The attack may use a folded copy of the network."""
        target = attack_target(attack, self.model)
        draws = generator(self.device, self.spec["seed"], "attack", attack["name"], shard[0])
        with attack_mode(target, x):
            if attack["algorithm"] == "function":
                function, parameters = locate(attack["implementation"]), attack.get("parameters", {})
                made: Tensor | Perturbed = function(
                    target, x, y, threat=self._threat(attack), generator=draws, **parameters
                )
                return made
            return pgd(
                target,
                x,
                budget=Budget.of(attack.get("threat", self.spec["threat"]), attack),
                objective=partial(OBJECTIVES[attack["objective"]], y=y),
                start=attack["start"],
                generator=draws,
            )

    def _threat(self, attack: dict[str, Any]) -> ThreatModel:
        """Return the attack's own threat model if it has one, else the evaluation's."""
        return ThreatModel.of(attack.get("threat", self.spec["threat"]))

    def _autoattack(
        self, attack: dict[str, Any], shard: tuple[int, int], x: Tensor, y: Tensor
    ) -> tuple[Outcome, dict[str, float]]:
        stored = self._resumed(attack, shard, x)
        checks: dict[str, float] = dict(stored[1]) if stored else unmoved_checks(x)
        threat = self._threat(attack)

        def inspect(x_adv: Tensor, clean: Tensor, prediction: Tensor) -> None:
            checks.update(worst(checks, perturbation_checks(self.model, x_adv, clean, prediction, threat=threat)))

        def rows(state: ShardOutcome) -> Outcome:
            return self._outcome(attack, shard, y, state.prediction, state.distance, state.broken_by)

        def store(state: ShardOutcome) -> None:
            path = self._piece_path(attack, shard, stage=state.attacks_done)
            write_piece(path, rows(state).table(), checks=checks)
            left, done = int(state.robust(y).sum()), STANDARD[state.attacks_done - 1]
            self.context.log(f"images {shard[0]}-{shard[1]}: {left}/{len(y)} robust after {done}")

        ensemble = AutoAttackShard(
            attack_target(attack, self.model),
            threat=threat,
            classes=self.classes,
            seed=counter_seed(self.spec["seed"], "autoattack", shard[0]) % 2**31,
            device=self.device,
            iterations=attack.get("iterations", ITERATIONS),
            square_queries=attack.get("square_queries", SQUARE_QUERIES),
            inspect=inspect,
            settled_images=self.optimizations.settled_images,
        )
        outcome = ensemble.run(x, y, stored[0] if stored else ensemble.clean(x), after=store)
        return rows(outcome), checks

    def _resumed(
        self, attack: dict[str, Any], shard: tuple[int, int], x: Tensor
    ) -> tuple[ShardOutcome, dict[str, float]] | None:
        """Return the latest stored outcome and checks of a shard that an earlier job began, or None."""
        for done in range(len(STANDARD), 0, -1):
            path = self._piece_path(attack, shard, stage=done)
            stored = read_piece(path)
            if stored is None:
                continue
            self.context.take_over(path)
            table, checks = stored
            outcome = ShardOutcome(
                prediction=torch.tensor(table["prediction"].to_pylist(), device=x.device),
                distance=torch.tensor(table["distance"].to_pylist(), device=x.device),
                broken_by=[value or "" for value in table["broken_by"].to_pylist()],
                attacks_done=done,
            )
            return outcome, checks
        return None
