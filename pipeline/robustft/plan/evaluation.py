"""Steps that attack: each evaluation of a run, in parts over its images, each part with its own ledger."""

from __future__ import annotations

from collections.abc import Iterator

from robustft.plan.catalogue import Catalogue
from robustft.plan.entries import prompts
from robustft.plan.graph import RESULTS, Graph
from robustft.plan.layers import Layered, Parts
from robustft.plan.resolve import ResolvedEvaluation, ResolvedRun, Resolver
from robustft.plan.step import Evaluation, Run, Step, implementations


def checkpoint_roles(run: Run) -> list[str]:
    """Name the input roles of the checkpoints that make a run's model."""
    return ["checkpoint"] if len(run.steps) == 1 else [f"checkpoint{n}" for n in range(1, len(run.steps) + 1)]


class Evaluations:
    """Plans evaluations into a graph."""

    def __init__(self, graph: Graph, catalogue: Catalogue, resolver: Resolver) -> None:
        self.graph, self.catalogue, self.resolver = graph, catalogue, resolver
        self.folder = f"{RESULTS}/{resolver.config.scale_name}"
        self._attacks: dict[tuple[str, str], tuple[str, ...]] = {}

    def of_run(self, run: Run, resolved: ResolvedRun) -> Iterator[Evaluation]:
        """Plan and yield the evaluations of a run, part by part."""
        for evaluation in self.resolver.evaluations(resolved):
            dataset = evaluation.dataset.value
            attacks = tuple(attack["name"].value for attack in evaluation.attacks)
            for step in self._steps(run, resolved, evaluation):
                yield Evaluation(run, evaluation.name, dataset, attacks, step, evaluation.transfer_eval)

    def _steps(self, run: Run, resolved: ResolvedRun, evaluation: ResolvedEvaluation) -> Iterator[Step]:
        texts = self._texts(run, evaluation)
        inputs = {"data": self.catalogue.data(evaluation.dataset.value).outputs["data"]}
        for role, step in zip(checkpoint_roles(run), run.steps, strict=True):
            inputs[role] = step.outputs["checkpoint"]
        if texts is not None:
            inputs["texts"] = texts.outputs["checkpoint"]
        built = implementations([[step.spec["backbone"], step.spec["method"]["tuning"]] for step in run.steps])
        named = (*built, *implementations(run.derivation), *self._of_attacks(run.paper, evaluation))
        label = f"{evaluation.name}-{evaluation.dataset.value}" if evaluation.transfer_eval else evaluation.name
        for part in range(evaluation.parts):
            spec = self._spec(run, resolved, evaluation, part, texts=texts is not None)
            id = f"{run.id}/{label}.{part + 1}of{evaluation.parts}"
            yield self.graph.add(
                "attack",
                id,
                spec,
                inputs=inputs,
                outputs={"ledger": f"{self.folder}/{id}.ledger.parquet"},
                implementations=named,
            )

    def _of_attacks(self, paper: str, evaluation: ResolvedEvaluation) -> tuple[str, ...]:
        """Return the implementations of an evaluation's attacks. Cached: thousands of steps share them."""
        key = (paper, evaluation.name)
        if key not in self._attacks:
            self._attacks[key] = implementations([attack.value for attack in evaluation.attacks])
        return self._attacks[key]

    def _texts(self, run: Run, evaluation: ResolvedEvaluation) -> Step | None:
        """Return the step of the model that reads the texts of the classes; None if the run's head has read them.

        A text head reads the texts of a data set that it was not trained on.
        """
        named = "template" in self.resolver.entries.view(evaluation.dataset.value)
        if not evaluation.transfer_eval and not (run.pretrained and not run.trained and named):
            return None
        initial = run.step.inputs.get("initial")
        return self.graph.producer(initial) if initial else run.step

    def _spec(
        self, run: Run, resolved: ResolvedRun, evaluation: ResolvedEvaluation, part: int, *, texts: bool
    ) -> Parts:
        images, parts = evaluation.images, evaluation.parts
        threat = Layered(*resolved.training.test_threat.layers, *evaluation.threat)
        self._check_threats(evaluation, threat)
        return Parts(
            models=[step.digest for step in run.steps],
            derivation=run.derivation,
            dataset=evaluation.dataset,
            prompts=prompts(self.resolver.entries.view(evaluation.dataset.value)) if texts else None,
            split=evaluation.split,
            images=[images * part // parts, images * (part + 1) // parts],
            shard_images=evaluation.shard_images,
            threat=threat,
            attacks=evaluation.attacks,
            seed=resolved.training.seed,
            **self.resolver.entries.machine,
        )

    def _check_threats(self, evaluation: ResolvedEvaluation, threat: Layered) -> None:
        """Check the threat of an evaluation and those of its attacks. The ball of a function need not be of pixels."""
        entries, dataset = self.resolver.entries, evaluation.dataset
        shape = entries.dataset(dataset)["shape"].value
        pixels = [attack for attack in evaluation.attacks if attack["algorithm"].value != "function"]
        own = [attack["threat"] for attack in pixels if "threat" in attack]
        for one in (threat, *own):
            entries.check_threat(one, shape)
