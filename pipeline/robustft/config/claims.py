"""Published tables: the numbers in the sources, and the translation of the names in the sources."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, field

from robustft.config.common import Confidence, Count, Maybe, Name, Names, Positive, Selection, Struct, Whole, require

Published = Annotated[
    float | Literal["missing"] | None,
    Meta(description="a number as printed, missing where it could not be read, or ~ where the table has no such cell"),
]
Row = Annotated[
    list[Published] | Literal["missing"],
    Meta(description="one value for each column, or missing if none of them could be read"),
]


class MethodTarget(Struct, frozen=True, kw_only=True):
    """The method and experiment of a published name; or the reason for none, `outside`."""

    method: Maybe[Name] = UNSET
    experiment: Maybe[Name] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a name with no translation and no reason."""
        require(self, ("method",), ("outside",))


class DatasetTarget(Struct, frozen=True, kw_only=True):
    """The data set of a published name, with its number of test images; or an average; or the reason for none."""

    dataset: Maybe[Name] = UNSET
    experiment: Maybe[Name] = UNSET
    images: Maybe[Whole] = UNSET
    average_of: Maybe[Annotated[list[str], Meta(min_length=1)]] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a name with no translation and no reason."""
        Struct.__post_init__(self)
        require(self, ("dataset",), ("average_of",), ("outside",))


class MetricTarget(Struct, frozen=True, kw_only=True):
    """The attack and the evaluations of a published metric; or the reason for none."""

    metric: Maybe[Name] = UNSET
    evaluations: Maybe[Names] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a name with no translation and no reason."""
        require(self, ("metric",), ("outside",))


class Statement(Struct, frozen=True, kw_only=True):
    """A statement of a paper in its own words: the claims that judge it, or the reason for none."""

    id: Name
    claim: str
    source: str
    confidence: Confidence
    judged_by: Maybe[Names] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a statement with both or neither."""
        if (self.judged_by is UNSET) == (self.outside is UNSET):
            raise ValueError("give 'judged_by' or 'outside'")


class Settings(Struct, frozen=True, kw_only=True):
    """The protocol of a published table, as far as its source gives it."""

    arch: str | float = ""
    init: str | float = ""
    train_dataset: str | float = ""
    train_eps: str | float = ""
    train_attack: str | float = ""
    lr: str | float = ""
    batch: str | float = ""
    optimizer: str | float = ""
    epochs: str | float = ""
    eval_dataset: str | float = ""
    eval_attack: str | float = ""
    eval_eps: str | float = ""
    diversity_weight: str | float = ""


class PublishedTable(Struct, frozen=True, kw_only=True):
    """A table of a source with its own names: `rows` by metric and method, or `unread`, the reason for no rows.

    `decimals`, `margin`, `read_off`, `runs` and `selection` are those of its values (see config/papers.py).
    """

    about: str
    source: str
    confidence: Confidence
    experiment: Maybe[Name] = UNSET
    unit: Maybe[str] = UNSET
    decimals: Maybe[Whole] = UNSET
    margin: Maybe[Positive] = UNSET
    read_off: Maybe[Positive] = UNSET
    runs: Maybe[Count] = UNSET
    selection: Maybe[Selection] = UNSET
    settings: Maybe[Settings] = UNSET
    notes: Maybe[list[str]] = UNSET
    caveats: Maybe[list[str]] = UNSET
    methods: Maybe[dict[str, Name | MethodTarget]] = UNSET
    datasets: Maybe[dict[str, Name | DatasetTarget]] = UNSET
    metrics: Maybe[dict[str, Name | MetricTarget]] = UNSET
    outside: Maybe[Name] = UNSET
    columns: Maybe[Annotated[list[str], Meta(min_length=1)]] = UNSET
    rows: Maybe[dict[str, dict[str, Row]]] = UNSET
    unread: Maybe[str] = UNSET

    def __post_init__(self) -> None:
        """Refuse a table with neither values nor a reason."""
        Struct.__post_init__(self)
        if (self.unread is UNSET) == (self.rows is UNSET) or (self.rows is UNSET) != (self.columns is UNSET):
            raise ValueError("give 'columns' with 'rows', or 'unread'")


class Claims(Struct, frozen=True, kw_only=True):
    """Published tables of a paper, and the translation of their names."""

    paper: Name
    tables: dict[Name, PublishedTable]
    reasons: dict[Name, str] = field(default_factory=dict)
    methods: Maybe[dict[str, Name | MethodTarget]] = UNSET
    datasets: Maybe[dict[str, Name | DatasetTarget]] = UNSET
    metrics: Maybe[dict[str, Name | MetricTarget]] = UNSET
    statements: Maybe[list[Statement]] = UNSET
