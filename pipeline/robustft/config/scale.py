"""config/scales/*.yaml and config/config.yaml: stand-ins, machine and budget of a scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import UNSET

from robustft.config.attacks import AttackOverride
from robustft.config.common import (
    Count,
    Counts,
    Layer,
    Maybe,
    Name,
    Names,
    Override,
    PartialEvaluation,
    PartialThreat,
    Struct,
    Whole,
    partial,
)
from robustft.config.papers import Pretraining


class Optimizations(Struct, frozen=True, kw_only=True):
    """The optimizations: the same numbers up to rounding, for less work."""

    folded_batch_norm: bool
    needed_tokens: bool
    settled_images: bool
    channels_last: bool


class Defaults(Struct, frozen=True, kw_only=True):
    """config/config.yaml: the scale and papers of one call of Snakemake."""

    scale: Name
    papers: Literal["all"] | Names
    optimizations: Optimizations


class StandIns(Struct, frozen=True, kw_only=True):
    """The stand-ins for a paper's data sets, backbones and pre-trainings, by name."""

    datasets: dict[Name, Name]
    backbones: dict[Name, Name]
    pretraining: dict[Name, Name]


class Limits(Struct, frozen=True, kw_only=True):
    """The request to a cluster for one job of a stage: memory in MB, time in minutes."""

    mem_mb: Count
    runtime_min: Count
    threads: Maybe[Count] = UNSET


class Resources(Struct, frozen=True, kw_only=True):
    """Limits by stage."""

    data: Limits
    train: Limits
    attack: Limits
    report: Limits


if TYPE_CHECKING:
    PartialPretraining: TypeAlias = Any
    PartialStandIns: TypeAlias = Any
    PartialOptimizations: TypeAlias = Any
else:
    PartialPretraining, PartialStandIns, PartialOptimizations = map(partial, (Pretraining, StandIns, Optimizations))


class Subset(Struct, frozen=True, kw_only=True):
    """A part of what a paper measures: at most so many `images` an evaluation."""

    images: Count


class ScaledExperiment(Layer, frozen=True, kw_only=True):
    """The settings of a scale for one experiment of a paper."""

    seeds: Maybe[Counts] = UNSET
    methods: Maybe[Names] = UNSET


class ScaledPaper(ScaledExperiment, frozen=True, kw_only=True):
    """The settings of a scale for one paper, over those of the paper.

    `left_out` names experiments and evaluations to skip.
    """

    threat: PartialThreat = UNSET
    evaluations: Maybe[dict[Name, PartialEvaluation]] = UNSET
    overrides: Maybe[dict[Name, Override]] = UNSET
    experiments: Maybe[dict[Name, ScaledExperiment]] = UNSET
    stand_ins: PartialStandIns = UNSET
    left_out: Maybe[Names] = UNSET


class Scale(Struct, frozen=True, kw_only=True):
    """One scale.

    `reproduces` says whether its numbers are comparable with published ones. Each training or attack job has a `device`
    and `threads`. The `processes` of a training run, on `nodes`, share each batch. `bundle` is the number of methods in
    a job; with 0 each step is a job. Of an experiment's seeds the first `seeds` run, all of them by default. The resume
    state is saved every `save_every_steps`. With `fused_optimizer`, the default, one kernel updates all weights. With
    `only`, `papers: all` means these. Where a `subset` is measured, no claim is comparable.
    """

    scale: Name
    about: str
    reproduces: bool
    device: Literal["cpu", "cuda"]
    threads: Count
    processes: Count
    bundle: Whole
    resources: Resources
    save_every_steps: Count
    stand_ins: StandIns
    pretraining: dict[Name, PartialPretraining]
    papers: dict[Name, ScaledPaper]
    nodes: Maybe[Count] = UNSET
    seeds: Maybe[Count] = UNSET
    attacks: Maybe[dict[Name, AttackOverride]] = UNSET
    optimizations: PartialOptimizations = UNSET
    fused_optimizer: Maybe[bool] = UNSET
    only: Maybe[Names] = UNSET
    subset: Maybe[Subset] = UNSET
