"""The plan of one scale: every step to run. Never imports torch.

The plan has three readers: Snakemake reads the inputs of each step, the command line the step to run, and the audit the
records that must exist. First the configuration is resolved (`resolve`). Then steps are created (`catalogue`,
`training`, `evaluation`, `reporting`) in one graph (`graph`), and `bundles` groups them into jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from robustft.config import Config
from robustft.errors import ConfigError, lookup
from robustft.plan.bundles import bundled
from robustft.plan.catalogue import Catalogue
from robustft.plan.evaluation import Evaluations
from robustft.plan.graph import Graph
from robustft.plan.reporting import Report
from robustft.plan.resolve import Resolver
from robustft.plan.step import Bundle, Evaluation, Run
from robustft.plan.training import Trainings


class Plan(Graph):
    """Every step of one scale, the runs and evaluations that they belong to, and the jobs that they make."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.scale_name)
        self.config, self.scale = config, config.scale_name
        self.runs: list[Run] = []
        self.evaluations: list[Evaluation] = []
        self.resolver = Resolver(config)
        self.catalogue = Catalogue(self, self.resolver.entries)
        trainings = Trainings(self, self.catalogue, self.resolver)
        evaluations = Evaluations(self, self.catalogue, self.resolver)
        for paper in config.papers:
            runs, measured = len(self.runs), len(self.evaluations)
            for resolved in self.resolver.runs(paper):
                run = trainings.run(resolved)
                self.runs.append(run)
                self.evaluations += evaluations.of_run(run, resolved)
            Report(self, self.resolver, paper, self.runs[runs:], self.evaluations[measured:]).add()
        if config.papers and not self.runs:
            raise ConfigError(
                f"no run of {', '.join(config.papers)} is planned at scale '{self.scale}'",
                where=config.file(f"scales/{self.scale}"),
                observed="; ".join(self.left_out) or "no paper has an experiment",
                next_step="add a stand-in that is missing, or choose another scale or other papers",
            )

    @property
    def left_out(self) -> list[str]:
        """The experiments and evaluations that are not at this scale, or not all of them, `PAPER/NAMES: REASON`."""
        grouped: dict[tuple[str, str], list[str]] = {}
        for (paper, experiment), reason in self.resolver.left_out.items():
            grouped.setdefault((paper, reason), []).append(experiment)
        return [f"{paper}/{', '.join(names)}: {reason}" for (paper, reason), names in grouped.items()]

    def paper_evaluations(self, paper: str, experiment: str | None = None) -> Iterator[Evaluation]:
        """Yield the evaluations of one paper (of one of its experiments)."""
        for evaluation in self.evaluations:
            if evaluation.run.paper == paper and experiment in (None, evaluation.run.experiment):
                yield evaluation

    def bundle(self, name: str) -> Bundle:
        """Return one bundle. Raises ConfigError with the nearest name for an unknown one."""
        return lookup({bundle.name: bundle for bundle in self.bundles()}, name, kind="bundle", where=self.config.folder)

    def bundles(self) -> list[Bundle]:
        """Return the training and attack steps as jobs of as many methods as the scale says."""
        methods = self.config.scale["bundle"] or 1
        return bundled(self.of_kind("train"), self.runs, self.evaluations, methods=methods)

    @cached_property
    def bundled(self) -> dict[str, bool]:
        """Return for each step in a bundle whether it is the first one."""
        return {step.key: number == 0 for bundle in self.bundles() for number, step in enumerate(bundle.steps)}
