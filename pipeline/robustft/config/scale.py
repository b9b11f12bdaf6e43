"""config/scales/*.yaml and config/config.yaml: what stands in for what, on which machine, with how much budget."""

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
    """Which optimizations are used: the same numbers up to rounding, for less work."""

    folded_batch_norm: bool
    needed_tokens: bool
    settled_images: bool
    channels_last: bool


class Defaults(Struct, frozen=True, kw_only=True):
    """config/config.yaml: what one call of Snakemake runs."""

    scale: Name
    papers: Literal["all"] | Names
    optimizations: Optimizations


class StandIns(Struct, frozen=True, kw_only=True):
    """What stands in for a paper's data sets, backbones and pre-trainings, by their names."""

    datasets: dict[Name, Name]
    backbones: dict[Name, Name]
    pretraining: dict[Name, Name]


class Limits(Struct, frozen=True, kw_only=True):
    """What a cluster is asked for, for one job of a stage: memory in MB, time in minutes."""

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


class ScaledExperiment(Layer, frozen=True, kw_only=True):
    """What a scale says of one experiment of a paper."""

    seeds: Maybe[Counts] = UNSET
    methods: Maybe[Names] = UNSET


class ScaledPaper(ScaledExperiment, frozen=True, kw_only=True):
    """What a scale says of one paper, laid over what the paper says. `left_out` names experiments that it skips."""

    threat: PartialThreat = UNSET
    evaluations: Maybe[dict[Name, PartialEvaluation]] = UNSET
    overrides: Maybe[dict[Name, Override]] = UNSET
    experiments: Maybe[dict[Name, ScaledExperiment]] = UNSET
    stand_ins: PartialStandIns = UNSET
    left_out: Maybe[Names] = UNSET


class Scale(Struct, frozen=True, kw_only=True):
    """One scale.

    `reproduces` says whether its numbers may be held against published ones. Of each training or attack job: `device`
    and `threads`; of a training run: `processes` that share each batch, on `nodes`. `bundle` methods are one job, 0:
    each step is a job. The resume state is saved each `save_every_steps`. Without `fused_optimizer: false` one kernel
    updates all weights.
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
    attacks: Maybe[dict[Name, AttackOverride]] = UNSET
    optimizations: PartialOptimizations = UNSET
    fused_optimizer: Maybe[bool] = UNSET
