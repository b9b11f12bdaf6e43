"""config/papers/: a paper's facts, experiments, methods, report, claims and deviations."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, field

from robustft.config.common import (
    Component,
    Confidence,
    Count,
    Counts,
    Diagnostics,
    Evaluation,
    Maybe,
    Monitor,
    Name,
    Names,
    Override,
    PartialThreat,
    Positive,
    Recipe,
    Selection,
    Struct,
    Threat,
    TrainingAttack,
    Whole,
    require,
)
from robustft.config.methods import Method


class Experiment(Struct, frozen=True, kw_only=True):
    """Runs: each of `methods`, from `pretraining` of `backbone`, on each of `datasets`, with each of `seeds`.

    Each run is measured by `evaluations`. `control` is the experiment of undefended models, on which every attack must
    succeed. `auxiliary` is a second data set for the methods that train on one. `overrides` has changed values of
    methods, and `threat` changed values of the paper's threat. Only where no method trains are recipe, training
    attack, monitor and diagnostics left out.
    """

    datasets: Names
    backbone: Name
    pretraining: Name
    seeds: Counts
    methods: Names
    evaluations: Names
    recipe: Maybe[Recipe] = UNSET
    training_attack: Maybe[TrainingAttack] = UNSET
    monitor: Maybe[Monitor] = UNSET
    diagnostics: Maybe[Diagnostics] = UNSET
    control: Maybe[Name] = UNSET
    auxiliary: Maybe[Name] = UNSET
    overrides: Maybe[dict[Name, Override]] = UNSET
    threat: PartialThreat = UNSET


class Pretraining(Struct, frozen=True, kw_only=True):
    """A training that experiments start from; it may start from another one, `pretraining`."""

    title: str
    dataset: Name
    backbone: Name
    method: Name
    seed: Whole
    threat: Threat
    recipe: Recipe
    training_attack: TrainingAttack
    monitor: Monitor
    diagnostics: Diagnostics
    pretraining: Maybe[Name] = UNSET


class Table(Struct, frozen=True, kw_only=True):
    """A table of an experiment: methods by `columns` (attacks), or by data sets (`across`) under one attack, `metric`.

    Without `rows` it has all methods. With `groups` it has the shape of a paper's table: for each label of a row the
    method in each group of columns. A column shows one evaluation; `evaluations` says which, where several attack with
    it.
    """

    title: str
    experiment: Name
    caption: str
    columns: Maybe[Names] = UNSET
    rows: Maybe[Names] = UNSET
    groups: Maybe[dict[str, dict[str, Name]]] = UNSET
    across: Maybe[Literal["datasets"]] = UNSET
    metric: Maybe[Name] = UNSET
    evaluations: Maybe[Names] = UNSET

    def __post_init__(self) -> None:
        """Refuse a table of both kinds or none."""
        Struct.__post_init__(self)
        if self.groups is not UNSET and (self.rows, self.across) != (UNSET, UNSET):
            raise ValueError("give 'groups', or 'rows' or 'across', not both")
        require(self, ("columns",), ("across", "metric"))
        if self.columns is not UNSET and (self.across, self.metric) != (UNSET, UNSET):
            raise ValueError("give 'columns', or 'across' with 'metric', not both")


class Figure(Struct, frozen=True, kw_only=True):
    """A figure of an experiment: the function that draws it, its methods, and the metrics that it shows, `columns`.

    Without `columns` it shows histories of training alone. As in a table, `across` is for data sets that evaluations
    list, and `evaluations` says which evaluation, where several attack with a metric. `metric` is shown on such data
    sets beside `columns` on those trained on. `published` is a table of claims.yaml that stands beside ours at the
    paper's own scale.
    """

    title: str
    kind: Component
    experiment: Name
    methods: Names
    caption: str
    columns: Maybe[Names] = UNSET
    across: Maybe[Literal["datasets"]] = UNSET
    metric: Maybe[Name] = UNSET
    evaluations: Maybe[Names] = UNSET
    ledgers: Maybe[bool] = UNSET
    published: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a figure of single images under no attack."""
        Struct.__post_init__(self)
        if self.ledgers is True and self.columns is UNSET:
            raise ValueError("give 'columns' beside 'ledgers': the attacks whose outcomes it shows")


class _Claim(Struct, frozen=True, kw_only=True):
    """A statement of a paper that a measurement can confirm, with its source and confidence."""

    id: Name
    statement: str
    experiment: Name | Names
    metric: Name
    source: str
    confidence: Confidence
    dataset: Maybe[Name] = UNSET
    evaluation: Maybe[Name] = UNSET
    note: Maybe[str] = UNSET


class Ordering(_Claim, tag_field="kind", tag="ordering", frozen=True, kw_only=True):
    """The method `left` has more of the metric than `right`; each side may have a metric of its own.

    Of a metric that counts what training needs, `left` needs less. Several methods to the right stand for the one that
    is best on validation images. With a `margin` (points) the claim is that `left` is at most so much below `right`.
    """

    left: Name
    right: Name | Names
    left_metric: Maybe[Name] = UNSET
    right_metric: Maybe[Name] = UNSET
    margin: Maybe[Positive] = UNSET


class _Number(_Claim, frozen=True, kw_only=True):
    """A published number.

    `margin` is how far ours may be from it, in points or the metric's own unit. `read_off` is how far the number as
    read may be from the one that was meant (default: half of its last decimal). It is the mean of `runs` trainings
    (default 1), of a checkpoint that was chosen as `selection` says.
    """

    value: float | Literal["missing"]
    decimals: Maybe[Whole] = UNSET
    margin: Maybe[Positive] = UNSET
    read_off: Maybe[Positive] = UNSET
    runs: Maybe[Count] = UNSET
    selection: Maybe[Selection] = UNSET


class Value(_Number, tag_field="kind", tag="value", frozen=True, kw_only=True):
    """A method's metric, in percent or in the metric's own unit."""

    method: Name


class Difference(_Number, tag_field="kind", tag="difference", frozen=True, kw_only=True):
    """The difference in points between the methods `left` and `right`."""

    left: Name
    right: Name


class Touches(Struct, frozen=True, kw_only=True):
    """What a deviation touches: rows of these `methods`, or made with one of these `components`, where all else holds.

    A component is a method's, a tuning's or a derivation's module or class, such as `mart` or `twins.TwinsTrades`, also
    that of a training that a row starts from. `experiments` are those of a table, `columns` its metrics, `datasets` the
    data that it shows: a stand-in has another name. `scales` are the only ones at which the deviation is one.
    """

    methods: Maybe[Names] = UNSET
    components: Maybe[list[str]] = UNSET
    experiments: Maybe[Names] = UNSET
    columns: Maybe[Names] = UNSET
    datasets: Maybe[Names] = UNSET
    scales: Maybe[Names] = UNSET


class Deviation(Struct, frozen=True, kw_only=True):
    """A difference from the paper, or a choice that the paper leaves open.

    Without `touches` it is one of every row. What changes no number touches `nothing`, and stands on the page alone.
    """

    key: Name
    text: str
    touches: Maybe[Touches | Literal["nothing"]] = UNSET


class Paper(Struct, frozen=True, kw_only=True):
    """One paper."""

    paper: Name
    title: str
    threat: Threat
    experiments: dict[Name, Experiment]
    evaluations: dict[Name, Evaluation]
    authors: list[str] = field(default_factory=list)
    venue: Maybe[str] = UNSET
    arxiv: Maybe[str] = UNSET
    code: Maybe[str] = UNSET
    scales: Maybe[Names] = UNSET
    """The scales whose `papers: all` means this one too; by default all of them."""
    pretraining: dict[Name, Pretraining] = field(default_factory=dict)
    methods: dict[Name, Method] = field(default_factory=dict)
    tables: dict[Name, Table] = field(default_factory=dict)
    figures: dict[Name, Figure] = field(default_factory=dict)
    claims: list[Ordering | Value | Difference] = field(default_factory=list)
    deviations: list[Deviation] = field(default_factory=list)
    margins: dict[str, str] = field(default_factory=dict)
    """The reason of each margin of a claim, by the margin with its unit, such as `1 points`."""
