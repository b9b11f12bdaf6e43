"""A paper's folder, read as one document.

Each YAML file of `config/papers/PAPER/` has some keys of the paper. An experiment may have its own file under
`experiments/`, with the content of its table. Claims that a measurement can confirm are rows of `claims.csv`. Each
published table is a CSV file under `claims/`, and `claims.yaml` translates its names.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robustft.config.tree import Keys, Tree, extended, parse, read_tree, unwrapped
from robustft.errors import ConfigError, lookup

LISTS = ("experiment", "dataset", "right")
"""Columns of claims.csv that may have several names, separated by spaces."""

NUMBERS = ("value", "decimals", "margin", "read_off", "runs")


def read_paper(folder: Path, baselines: Mapping[str, Any]) -> Tree:
    """Return a paper as one tree; its methods may extend those of `baselines`.

    Raises ConfigError as `read_tree`, and for a key in two files.
    """
    values: dict[str, Any] = {}
    places: list[tuple[Path, Keys]] = []
    others = (path for path in sorted(folder.glob("*.yaml")) if path.name not in ("paper.yaml", "claims.yaml"))
    for path in (folder / "paper.yaml", *others):
        part = parse(path)
        if twice := sorted(set(part) & set(values)):
            raise ConfigError(f"the key '{twice[0]}' is given twice", where=path, observed=[p.name for p, _ in places])
        values |= part
        places.append((path, ()))
    if isinstance(values.get("experiments"), list):
        values["experiments"] = _experiments(folder / "experiments", values["experiments"], places)
    for key, kind, known in (
        ("experiments", "experiment", {}),
        ("pretraining", "pretraining", {}),
        ("methods", "method", baselines),
    ):
        entries = _mapping(values.get(key, {}), key, folder)
        if entries:
            values[key] = {name: _extended(name, entries, known, kind, folder) for name in entries}
    _add_evaluations(values, folder)
    if (folder / "claims.csv").exists():
        values["claims"] = list(_claims(folder / "claims.csv"))
    _add_tables(values, folder)
    bases: dict[str, dict[str, str]] = {}
    empty: dict[str, Any] = {"tables": {}, "figures": {}, "claims": [], "deviations": [], "margins": {}}
    return Tree(tuple(places), {**empty, **unwrapped(values, "", bases, folder)}, bases)


def read_claims(folder: Path) -> Tree | None:
    """Return the published tables of a paper with their values; None if none are on record."""
    if not (folder / "claims.yaml").exists():
        return None
    tree = read_tree(folder / "claims.yaml", "claims")
    for name, table in tree.values["tables"].items():
        path = folder / "claims" / f"{name}.csv"
        if path.exists():
            table["columns"], table["rows"] = _published(path)
    return tree


def _experiments(folder: Path, names: list[str], places: list[tuple[Path, Keys]]) -> dict[str, Any]:
    """Read the experiments, in the order of the paper's list of files."""
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    experiments = {}
    for name in names:
        path = lookup(known, name, kind="experiment", where=folder)
        experiments[name] = parse(path)
        places.append((path, ("experiments", name)))
    for name in names:
        base = experiments[name].get("extends")
        if base in known:
            places.append((known[base], ("experiments", name)))
    if unlisted := sorted(set(known) - set(names)):
        raise ConfigError(
            f"the experiment '{unlisted[0]}' is not in the paper's list", where=folder.parent / "paper.yaml"
        )
    return experiments


def _extended(
    name: str, entries: Mapping[str, Any], known: Mapping[str, Any], kind: str, where: Path, below: tuple[str, ...] = ()
) -> Any:
    """Return an entry laid over the one that it `extends`."""
    if name in below:
        raise ConfigError(f"the {kind} '{name}' extends itself", where=where, observed=" -> ".join((*below, name)))
    entry = entries[name] if name in entries else known[name]
    if not isinstance(entry, dict) or "extends" not in entry:
        return entry
    lookup({**known, **entries}, entry["extends"], kind=f"{kind} (in `extends` of '{name}')", where=where)
    own = {key: value for key, value in entry.items() if key != "extends"}
    # An experiment does not inherit a table.
    base = _mapping(
        _extended(entry["extends"], entries, known, kind, where, (*below, name)), f"{kind} of '{name}'", where
    )
    inherited = {key: value for key, value in base.items() if kind != "experiment" or key not in ("table", "title")}
    return extended(inherited, own)


def _add_evaluations(values: dict[str, Any], folder: Path) -> None:
    """Move evaluations in experiments to those of the paper, and leave their names in the experiments."""
    known = _mapping(values.setdefault("evaluations", {}), "evaluations", folder)
    for name, experiment in values.get("experiments", {}).items():
        own = _mapping(experiment, f"experiments.{name}", folder).get("evaluations")
        if not isinstance(own, dict):
            continue
        for evaluation, entry in own.items():
            if known.setdefault(evaluation, entry) != entry:
                what = f"the evaluation '{evaluation}' of the experiment '{name}' is another one elsewhere"
                raise ConfigError(what, where=folder, next_step="give it another name")
        experiment["evaluations"] = list(own)


def _add_tables(values: dict[str, Any], folder: Path) -> None:
    """Move the tables of experiments to `tables`, in the `order` of the paper or else of the experiments.

    An experiment with a `title` has a table, by default with all attacks of its evaluations.
    """
    caption, order = values.pop("caption", None), values.pop("order", None)
    tables: dict[str, Any] = {}
    for name, experiment in values.get("experiments", {}).items():
        title, own = experiment.pop("title", None), experiment.pop("table", {})
        if title is None:
            continue
        attacks = [
            attack
            for evaluation in experiment.get("evaluations") or []
            for attack in _mapping(values["evaluations"].get(str(evaluation), {}), str(evaluation), folder).get(
                "attacks"
            )
            or []
        ]
        columns = [attack for number, attack in enumerate(attacks) if attack not in attacks[:number]]
        tables[name] = {"title": title, "experiment": name, "columns": columns, **_mapping(own, "table", folder)}
    tables |= _mapping(values.get("tables", {}), "tables", folder)
    for name, table in tables.items():
        if "caption" not in _mapping(table, f"tables.{name}", folder) and caption is not None:
            table["caption"] = caption
    if tables:
        where = folder / "report.yaml"
        values["tables"] = {name: lookup(tables, name, kind="table", where=where) for name in order or tables}


def _mapping(value: Any, name: str, where: Path) -> dict[str, Any]:
    """Return a value that must be a mapping before its keys can be checked. Raises ConfigError for any other."""
    if not isinstance(value, dict):
        raise ConfigError(
            f"{name}: this is no mapping of keys to values",
            where=where,
            expected="lines such as `key: value`",
            observed=type(value).__name__ if value is not None else "nothing",
            next_step="restore the file, or write the keys that the other files of its kind have",
        )
    return value


# -- CSV ---------------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file by column; lines that begin with # are comments."""
    with path.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(line for line in stream if not line.startswith("#"))


def _claims(path: Path) -> Iterator[dict[str, Any]]:
    """Yield each claim with the non-empty columns of its row."""
    for row in _rows(path):
        claim: dict[str, Any] = {key: text for key, text in row.items() if text}
        claim |= {key: _number(claim[key]) for key in NUMBERS if key in claim}
        claim |= {key: claim[key].split() for key in LISTS if " " in claim.get(key, "")}
        yield claim


def _published(path: Path) -> tuple[list[str], dict[str, dict[str, list[Any]]]]:
    """Return the columns of a published table, and its rows by metric and method; an empty cell is None."""
    rows: dict[str, dict[str, list[Any]]] = {}
    columns: list[str] = []
    for row in _rows(path):
        metric, method = row.pop("metric"), row.pop("method")
        columns = list(row)
        rows.setdefault(metric, {})[method] = [_number(text) if text else None for text in row.values()]
    return columns, rows


def _number(text: str) -> float | str:
    """Return the int or float that a text represents; any other text unchanged."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
