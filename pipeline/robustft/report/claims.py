"""Published values of a paper in long tables, and the measurement that each one is compared with.

A table of `config/papers/PAPER/claims/` has the names that its source prints. Mappings in `claims.yaml` translate each
name. A cell without a counterpart is outside, with a named reason, so no cell is dropped. Never imports torch, and
reads no files.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from robustft.errors import ConfigError, lookup

Claim = dict[str, Any]

MISSING = "missing"

READ_OFF = "read off"
"""The confidence of a value of the paper's own plot, whose tolerance is known."""

MARGIN = 1.0
"""Points by which a measured value may differ from a published one, unless its table says otherwise."""

DECIMALS = 2


@dataclass(frozen=True)
class Cell:
    """One published value, by the names that its source prints, with our claim about it or the reason for none."""

    table: str
    metric: str
    method: str
    dataset: str
    value: float | str
    confidence: str
    claim: Claim | None
    outside: str | None


def cells(values: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield every cell of the tables of a claims document, in the order of the file.

    Raises ConfigError for a name that is in no mapping, a row that does not fit its columns, and a reason that is not
    in `reasons`.
    """
    for name, table in values["tables"].items():
        where = f"config/papers/{values['paper']}/claims.yaml, tables.{name}"
        for metric, rows in table.get("rows", {}).items():
            for method, row in rows.items():
                for column, value in _row(table["columns"], row, where=f"{where}.rows.{metric}.{method}"):
                    yield _cell(values, name, (metric, method, column), value, where=where)


def expanded(values: Mapping[str, Any]) -> list[Claim]:
    """Return a claim of kind `value` for each cell that is not outside, in the shape of a paper's own `claims:`.

    A claim also has `table` and `cell` (its table and its names there), `evaluation` as a list, and `images` by data
    set if the published number of test images is on record. An average has `datasets` instead of `dataset`.
    """
    claims = [cell.claim for cell in cells(values) if cell.claim is not None]
    twice = [id for id, count in Counter(claim["id"] for claim in claims).items() if count > 1]
    if twice:
        raise ConfigError(f"two cells are named {twice[0]}", where=f"config/papers/{values['paper']}/claims.yaml")
    return claims


def outside(values: Mapping[str, Any]) -> list[Cell]:
    """Return the cells that no run of ours corresponds to."""
    return [cell for cell in cells(values) if cell.outside is not None]


def beside(values: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the values of a published table as a figure shows them beside ours: metric, method, column, value.

    A name that the document translates is ours; any other is as printed. A cell that could not be read is left out.
    """
    table = values["tables"][name]

    def ours(kind: str, printed: str) -> str:
        target = {**values.get(f"{kind}s", {}), **table.get(f"{kind}s", {})}.get(printed, printed)
        return target if isinstance(target, str) else str(target.get(kind, printed))

    return [
        {
            "metric": ours("metric", cell.metric),
            "method": ours("method", cell.method),
            "column": ours("dataset", cell.dataset),
            "value": cell.value,
        }
        for cell in cells(values)
        if cell.table == name and cell.value != MISSING
    ]


# -- from a cell to a claim --------------------------------------------------------------------------------------------


def _row(columns: list[str], row: list[Any] | str, *, where: str) -> list[tuple[str, Any]]:
    """Pair a row with its columns, without cells that the source's table does not have."""
    if row == MISSING:
        return [(column, MISSING) for column in columns]
    if len(row) != len(columns):
        raise ConfigError("a row has not one value for each column", where=where, expected=columns, observed=row)
    return [(column, value) for column, value in zip(columns, row, strict=True) if value is not None]


def _cell(values: Mapping[str, Any], name: str, names: tuple[str, str, str], value: float | str, *, where: str) -> Cell:
    table = values["tables"][name]
    targets = [
        _target(values, table, kind, one, where)
        for kind, one in zip(("metric", "method", "dataset"), names, strict=True)
    ]
    reason = next((target["outside"] for target in ({**table}, *targets) if "outside" in target), None)
    if reason is not None:
        lookup(values["reasons"], reason, kind="reason", where=where)
    claim = _claim(values, name, names, targets, value, where=where) if reason is None else None
    return Cell(name, *names, value, MISSING if value == MISSING else table["confidence"], claim, reason)


def _target(values: Mapping[str, Any], table: Mapping[str, Any], kind: str, name: str, where: str) -> dict[str, Any]:
    """Translate a published name; a table's own mapping overrides the document's."""
    known = {**values.get(f"{kind}s", {}), **table.get(f"{kind}s", {})}
    if "outside" in table:
        return {}
    target = lookup(known, name, kind=f"published {kind}", where=where)
    return {kind: target} if isinstance(target, str) else dict(target)


def _claim(
    values: Mapping[str, Any],
    name: str,
    names: tuple[str, str, str],
    targets: list[dict[str, Any]],
    value: float | str,
    *,
    where: str,
) -> Claim:
    table, (metric, method, dataset) = values["tables"][name], targets
    parts = _parts(values, table, dataset, where=f"{where}, {names[2]}")
    of_data = list(dict.fromkeys(part["experiment"] for part in parts if "experiment" in part))
    experiment = (of_data[0] if len(of_data) == 1 else of_data) or method.get("experiment", table.get("experiment"))
    if experiment is None:
        raise ConfigError("a cell is matched, but to no experiment", where=where, next_step="add 'experiment'")
    decimals = table.get("decimals", DECIMALS)
    if value != MISSING and round(float(value), decimals) != value:
        raise ConfigError("a value has more digits than 'decimals' says", where=where, observed=value)
    images = {part["dataset"]: part["images"] for part in parts if "images" in part}
    known = [part["dataset"] for part in parts]
    return {
        "id": "__".join(_slug(part) for part in (name, *names)),
        "statement": f"{names[1]} on {names[2]}, {names[0]}",
        "kind": "value",
        "table": name,
        "cell": list(names),
        "experiment": experiment,
        **({"evaluation": metric["evaluations"]} if "evaluations" in metric else {}),
        **({"datasets": known} if "average_of" in dataset else {"dataset": known[0]}),
        "method": method["method"],
        "metric": metric["metric"],
        "value": value,
        "decimals": decimals,
        "margin": table.get("margin", MARGIN),
        **{key: table[key] for key in ("read_off", "runs", "selection") if key in table},
        **({"images": images} if len(images) == len(parts) else {}),
        "source": table["source"],
        "confidence": MISSING if value == MISSING else table["confidence"],
    }


def _parts(
    values: Mapping[str, Any], table: Mapping[str, Any], dataset: dict[str, Any], *, where: str
) -> list[dict[str, Any]]:
    """Return the data sets of a cell, several if it is an average."""
    if "average_of" not in dataset:
        return [dataset]
    parts = [_target(values, table, "dataset", part, where) for part in dataset["average_of"]]
    if not all("dataset" in part for part in parts):
        raise ConfigError("an average is over a data set that is outside", where=where)
    return parts


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


# -- how much is on record ---------------------------------------------------------------------------------------------


def counts(
    papers: Mapping[str, tuple[Sequence[Claim], Mapping[str, Any] | None]],
) -> dict[str, dict[str, Counter[str]]]:
    """Count what is on record of each paper, from its `claims:` and its claims document.

    For each paper: `confidence` and `kind` of the judged claims, `outside` by reason, `statements` by whether a claim
    judges them, and the number of `unread` tables, whose cells are not known.
    """
    by_paper = {}
    for paper, (inline, values) in papers.items():
        values = values or {"tables": {}, "reasons": {}, "paper": paper}
        claims = [*inline, *expanded(values)]
        statements = values.get("statements", [])
        by_paper[paper] = {
            "confidence": Counter(_confidence(claim) for claim in claims),
            "kind": Counter(claim["kind"] for claim in claims),
            "outside": Counter(str(cell.outside) for cell in outside(values)),
            "statements": Counter("judged" if "judged_by" in one else one["outside"] for one in statements),
            "unread": Counter(table=sum("unread" in table for table in values["tables"].values())),
        }
    return by_paper


def _confidence(claim: Claim) -> str:
    if claim.get("value") == MISSING:
        return MISSING
    return READ_OFF if "read_off" in claim and claim["confidence"] == "direct" else str(claim["confidence"])


def describe_counts(by_paper: Mapping[str, Mapping[str, Counter[str]]]) -> list[str]:
    """Return a line for each paper: claims by confidence, values outside by reason, tables that could not be read."""
    lines = []
    for paper, count in by_paper.items():
        levels = ", ".join(
            f"{count['confidence'][level]} {level}" for level in ("direct", READ_OFF, "secondary", MISSING)
        )
        left = ", ".join(f"{reason} {number}" for reason, number in sorted(count["outside"].items()))
        unread = count["unread"]["table"]
        lines.append(
            f"{paper}: {sum(count['confidence'].values())} claims ({levels});"
            f" outside the DAG {sum(count['outside'].values())}{f' ({left})' if left else ''};"
            f" unread tables {unread}"
        )
    return lines
