"""The training loop: one for every method, for fine-tuning and for adversarial pre-training.

It knows a method only through the functions of `Method`. A run that is killed at any moment and started again ends, on
one CPU, with the same bytes as a run that is never interrupted: every draw is named by (seed, epoch, step), and the
resume state holds all that passes from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from robustft.attacks.pgd import Budget
from robustft.data.batches import AuxiliaryBatches, Batches, Images
from robustft.data.splits import class_labels
from robustft.errors import ConfigError, RobustftError
from robustft.methods.protocol import Loss, Method, PretrainingContext, at_test
from robustft.models.classifier import Classifier
from robustft.parallel.group import World
from robustft.parallel.sharded_batch import sharded_attack
from robustft.runtime.context import Context, Progress
from robustft.runtime.randomness import counter_seed, generator
from robustft.speed.optimizations import Optimizations, apply_optimizations, memory_format
from robustft.train.diagnostics import flat_weights, gradient_diagnostics, weight_diagnostics, with_ratios
from robustft.train.monitor import Monitor
from robustft.train.objective import Objective
from robustft.train.optim import as_laid_out, build_optimizer, learning_rate
from robustft.train.state import load_state, save_state


@dataclass
class TrainState:
    """What a step passes to the next one besides weights and optimiser; all of it is in the resume state."""

    step: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    sums: dict[str, list[float]] = field(default_factory=dict)
    """For this epoch so far: [sum, count] of each logged value."""
    lr_factor: float = 1.0
    """The product of the factors that the method has returned at the end of epochs."""
    best: dict[str, Any] = field(default_factory=dict)
    """Under best_validation: the best (robust, clean) validation accuracy so far, its epoch and its weights."""

    def log(self, values: dict[str, float]) -> None:
        """Add values to the means of this epoch."""
        for name, value in values.items():
            total = self.sums.setdefault(name, [0.0, 0])
            total[0] += value
            total[1] += 1

    def means(self) -> dict[str, float]:
        """Return the means of this epoch and forget them."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means


def _nothing(_: list[dict[str, float]]) -> None:
    """Tell nobody."""


class Trainer:
    """Trains one model by one method, as a specification says.

    Args:
        spec: the resolved specification of a `train` step.
        method: the method; it has not yet prepared the model.
        model: the model with its initial weights, on the device.
        splits: images by split: train, validation if the data set has it, test (which is only watched, never used to
            choose anything).
        context: where the resume state lies and how progress is told.
        world: the group of processes, by default this one alone.
        start: what the method may look at before it prepares the model.
        auxiliary: the auxiliary data set's training images, for a method that uses them.
        on_epoch: is given the history after each epoch.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        *,
        method: Method,
        model: Classifier,
        splits: dict[str, Images],
        context: Context,
        world: World | None = None,
        start: PretrainingContext | None = None,
        auxiliary: Images | None = None,
        on_epoch: Callable[[list[dict[str, float]]], None] = _nothing,
    ) -> None:
        self.on_epoch = on_epoch
        self.spec, self.method, self.context, self.world = spec, method, context, world or World()
        recipe = spec["recipe"]
        self.recipe: dict[str, Any] = recipe
        self.device = splits["train"].labels.device
        self.model = method.prepare(model, start).to(self.device)
        optimizations = Optimizations.of(spec["optimizations"])
        apply_optimizations(self.model, optimizations)
        if start is not None and start.source is not None:
            apply_optimizations(start.source, optimizations)
        self.layout = memory_format(self.model, optimizations)
        self.model.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.initial_weights = flat_weights(self.model)
        self.objective = self.world.wrap(Objective(self.model, method))
        self.optimizer = build_optimizer(self.model, recipe, fused=spec["fused_optimizer"])
        self.batches = Batches(
            splits["train"],
            batch_size=recipe["batch_size"],
            augmentation=spec["dataset"]["augmentation"],
            seed=spec["seed"],
            processes=self.world.size,
        )
        self.auxiliary_batches = self._auxiliary_batches(auxiliary) if method.uses_auxiliary else None
        self.budget = Budget.of(spec["threat"], spec["training_attack"])
        self.monitor = Monitor(spec["monitor"], threat=spec["threat"], splits=splits, seed=spec["seed"], method=method)
        self.train_state = TrainState()
        self._losses: list[tuple[int, dict[str, Tensor]]] = []

    def _auxiliary_batches(self, auxiliary: Images | None) -> AuxiliaryBatches:
        if auxiliary is None:
            raise ConfigError(
                f"the method '{self.spec['method']['name']}' needs an auxiliary data set",
                next_step="name one under `auxiliary` of the experiment, and say `uses_auxiliary: true` of the method",
            )
        chosen = self.method.auxiliary_classes(self.model)
        offset = len(class_labels(self.spec["dataset"]))
        return AuxiliaryBatches(
            auxiliary,
            classes=chosen,
            offset=offset,
            batch_size=self.recipe["batch_size"],
            seed=self.spec["seed"],
            augmentation=self.spec["auxiliary"]["augmentation"],
        )

    def run(self) -> list[dict[str, float]]:
        """Train to the end (from the resume state if there is one) and return the history, one row an epoch.

        Afterwards the model holds the weights that the recipe's selection rule keeps.
        """
        self._resume()
        per_epoch = self.batches.per_epoch
        total = self.recipe["epochs"] * per_epoch
        progress = Progress(self.context, total=total, unit="step", done=self.train_state.step)
        every = self.context.settings.get("save_every_steps", per_epoch)
        while self.train_state.step < total:
            epoch, position = divmod(self.train_state.step, per_epoch)
            self._train_step(epoch, position)
            self.train_state.step += 1
            saved = self.train_state.step % every == 0 or position + 1 == per_epoch
            if saved:
                self._log_losses()
            if position + 1 == per_epoch:
                self._end_epoch(epoch)
            if saved:
                self._save()
            progress.update(self.train_state.step, self._note())
        if self.recipe["selection"] == "best_validation":
            self.model.load_state_dict(self.train_state.best["weights"])
            self.context.facts["selected_epoch"] = self.train_state.best["epoch"]
        return self.train_state.rows

    def _note(self) -> str:
        if not self.train_state.rows:
            return ""
        watched = [row["robust_validation"] for row in self.train_state.rows if "robust_validation" in row]
        robust = f", robust validation {100 * watched[-1]:.1f} %" if watched else ""
        return f"loss {self.train_state.rows[-1]['loss']:.3f}{robust}"

    def _autocast(self) -> torch.autocast:
        enabled = self.recipe["precision"] == "bfloat16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _train_step(self, epoch: int, position: int) -> None:
        step, seed = self.train_state.step, self.spec["seed"]
        # Anything that draws from torch's global generator (dropout) is a function of the step, and of the share.
        torch.manual_seed(counter_seed(seed, "step", step, self.world.rank))
        lr = learning_rate(self.recipe, step=step, steps_per_epoch=self.batches.per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * self.train_state.lr_factor * group.get("lr_factor", 1.0)
        x, y = self._batch(epoch, position)
        x = x.contiguous(memory_format=self.layout) if x.dim() == 4 else x
        self.model.train()
        self.method.on_step_start(self.model, generator=generator(self.device, seed, "begin", step))
        budget = replace(self.budget, epoch=step / self.batches.per_epoch)
        draws = generator(self.device, seed, "attack", step, 0)
        with self._autocast(), self.world.sharded():
            attack = partial(self.method.attack, self.model, x, y, budget=budget, generator=draws)
            x_adv = sharded_attack(attack, len(x))
            loss = Loss(self.objective(x, x_adv, y, progress=step / (self.recipe["epochs"] * self.batches.per_epoch)))
        with self.world.sharded():
            diagnostics = gradient_diagnostics(self.model, loss) if self._diagnosed(position) else {}
        total = loss.total
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if self.recipe.get("clip_grad_norm"):
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe["clip_grad_norm"])
        self.optimizer.step()
        self.method.after_step(self.model)
        terms = {f"term/{name}": term.detach() for name, term in loss.terms.items()}
        self._losses.append((step, {"loss": total.detach(), **terms}))
        if diagnostics:
            self._log_losses()
            self.train_state.log(diagnostics)

    def _batch(self, epoch: int, position: int) -> tuple[Tensor, Tensor]:
        """Return a batch's images and targets, followed by those of the auxiliary batch."""
        x, y = self.batches.get(epoch, position)
        draws = generator(self.device, self.spec["seed"], "pretext", epoch, position)
        x, y = self.method.pretext(x, y, generator=draws)
        if self.auxiliary_batches is None:
            return x, y
        other_x, other_y = self.auxiliary_batches.get(self.train_state.step, len(x))
        return torch.cat([x, other_x]), torch.cat([y, other_y])

    def _log_losses(self) -> None:
        """Log the losses of the steps since the last call: reading a loss at each step would make the device wait."""
        if not self._losses:
            return
        read = iter(torch.stack([value for _, values in self._losses for value in values.values()]).tolist())
        for step, values in self._losses:
            losses = dict(zip(values, read, strict=False))
            if not math.isfinite(losses["loss"]):
                raise RobustftError(
                    f"the loss of {self.spec['method']['name']}, seed {self.spec['seed']}, is {losses['loss']}",
                    where=f"step {step}",
                    expected="a finite number",
                    next_step="lower the learning rate, or use precision: float32",
                )
            self.train_state.log(losses)
        self._losses.clear()

    def _diagnosed(self, position: int) -> bool:
        """Tell whether this position is one of the evenly spaced ones, the last of the epoch among them."""
        count, per_epoch = self.spec["diagnostics"]["steps_per_epoch"], self.batches.per_epoch
        return (position + 1) * count // per_epoch > position * count // per_epoch

    def _end_epoch(self, epoch: int) -> None:
        first = self.optimizer.param_groups[0]
        lr = float(first["lr"]) / first.get("lr_factor", 1.0)
        row = {**self.train_state.means(), **weight_diagnostics(self.model, self.initial_weights)}
        trained = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        head = {"epoch": epoch + 1, "step": self.train_state.step, "lr": lr, "trained_parameters": trained}
        row = {**head, **with_ratios(row, lr)}
        last = epoch + 1 == self.recipe["epochs"]
        if last or (epoch + 1) % self.spec["monitor"]["every_epochs"] == 0:
            with self._autocast(), self.world.sharded(), at_test(self.method, self.model) as tested:
                row.update(self.monitor.measure(tested))
            self._keep_best(epoch + 1, row)
        self.train_state.rows.append(row)
        self.train_state.lr_factor *= self.method.end_epoch(self.model, self.train_state.rows)
        if self.world.rank == 0:
            self.on_epoch(self.train_state.rows)

    def _keep_best(self, epoch: int, row: dict[str, float]) -> None:
        if self.recipe["selection"] != "best_validation":
            return
        score = [row["robust_validation"], row["clean_validation"]]
        if not self.train_state.best or score > self.train_state.best["score"]:
            weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self.train_state.best = {"score": score, "epoch": epoch, "weights": weights}

    @property
    def _state_path(self) -> Path:
        return self.context.scratch / "training.state"

    def _save(self) -> None:
        if self.world.rank == 0:
            state = {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                **vars(self.train_state),
            }
            save_state(self._state_path, state)

    def _resume(self) -> None:
        state = load_state(self._state_path, log=self.context.log)
        if state is None:
            self.world.check_agreement(0, "the step to resume from")
            return
        self.model.load_state_dict(state.pop("model"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        as_laid_out(self.optimizer)
        self.train_state = TrainState(**state)
        self.world.check_agreement(self.train_state.step, "the step to resume from")
        self.context.facts["resumed_from_step"] = self.train_state.step
        self.context.take_over(self._state_path)
        self.context.log(f"resumed at step {self.train_state.step}")
