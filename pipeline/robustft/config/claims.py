"""Published tables: the numbers that sources print, and what the names that they print are here."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from robustft.config.common import Confidence, Maybe, Name, Names, Positive, Struct, Whole, require

Published = Annotated[
    float | Literal["missing"] | None,
    Meta(description="a number as printed, missing where it could not be read, or ~ where the table has no such cell"),
]
Row = Annotated[
    list[Published] | Literal["missing"],
    Meta(description="one value for each column, or missing if none of them could be read"),
]


class MethodTarget(Struct, frozen=True, kw_only=True):
    """Which method a published name is here, and of which experiment; or why it is none (`outside`, a reason)."""

    method: Maybe[Name] = UNSET
    experiment: Maybe[Name] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a name that is nothing."""
        require(self, ("method",), ("outside",))


class DatasetTarget(Struct, frozen=True, kw_only=True):
    """Which data set a published name is here, with its number of test images; or an average; or why it is none."""

    dataset: Maybe[Name] = UNSET
    experiment: Maybe[Name] = UNSET
    images: Maybe[Whole] = UNSET
    average_of: Maybe[Annotated[list[str], Meta(min_length=1)]] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a name that is nothing."""
        Struct.__post_init__(self)
        require(self, ("dataset",), ("average_of",), ("outside",))


class MetricTarget(Struct, frozen=True, kw_only=True):
    """Which attack's accuracy a published metric is here, in which evaluations; or why it is none."""

    metric: Maybe[Name] = UNSET
    evaluations: Maybe[Names] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a name that is nothing."""
        require(self, ("metric",), ("outside",))


class Statement(Struct, frozen=True, kw_only=True):
    """A statement of a paper in its own words: the claims that judge it, or why none does."""

    id: Name
    claim: str
    source: str
    confidence: Confidence
    judged_by: Maybe[Names] = UNSET
    outside: Maybe[Name] = UNSET

    def __post_init__(self) -> None:
        """Refuse a statement with both, and one with neither."""
        if (self.judged_by is UNSET) == (self.outside is UNSET):
            raise ValueError("give 'judged_by' or 'outside'")


class Settings(Struct, frozen=True, kw_only=True):
    """How the numbers of a published table were made, as far as its source says."""

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
    """A table of a source with its own names: `rows` by metric and method, or why it could not be `unread`."""

    about: str
    source: str
    confidence: Confidence
    experiment: Maybe[Name] = UNSET
    unit: Maybe[str] = UNSET
    decimals: Maybe[Whole] = UNSET
    margin: Maybe[Positive] = UNSET
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
        """Refuse a table without values that does not say why."""
        Struct.__post_init__(self)
        if (self.unread is UNSET) == (self.rows is UNSET) or (self.rows is UNSET) != (self.columns is UNSET):
            raise ValueError("give 'columns' with 'rows', or 'unread'")


class Claims(Struct, frozen=True, kw_only=True):
    """Published tables of a paper, and what the names that they print are here."""

    paper: Name
    reasons: dict[Name, str]
    tables: dict[Name, PublishedTable]
    methods: Maybe[dict[str, Name | MethodTarget]] = UNSET
    datasets: Maybe[dict[str, Name | DatasetTarget]] = UNSET
    metrics: Maybe[dict[str, Name | MetricTarget]] = UNSET
    statements: Maybe[list[Statement]] = UNSET
