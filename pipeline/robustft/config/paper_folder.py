"""A paper's folder, read as one document.

Each YAML file of `config/papers/PAPER/` has some keys of the paper; a paper without a folder is `papers/PAPER.yaml`.
An experiment may have its own file under
`experiments/`, with the content of its table. Claims that a measurement can confirm are rows of `claims.csv`. Each
published table is a CSV file under `claims/`, and `claims.yaml` translates its names.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robustft.config.grids import expand_grids
from robustft.config.tree import Keys, Tree, entry_of, mapping, parse, read_tree, unwrapped
from robustft.errors import ConfigError, lookup

LISTS = ("experiment", "dataset", "right")
"""Columns of claims.csv that may have several names, separated by spaces."""

NUMBERS = ("value", "decimals", "margin", "read_off", "runs")


KINDS = {"experiments": "experiment", "pretraining": "pretraining", "methods": "method"}
"""What may extend another entry of its kind, by its key."""


UNSAID = {"seeds": [0], "diagnostics": {"steps_per_epoch": 0}}
"""What an experiment need not say."""


def paper_file(folder: Path) -> Path:
    """Return the main file of a paper by the path of its folder, which a paper in one file has not."""
    return folder / "paper.yaml" if folder.is_dir() else folder.with_suffix(".yaml")


def read_paper(folder: Path, baselines: Mapping[str, Any], papers: Mapping[str, Path] | None = None) -> Tree:
    """Return a paper as one tree; its methods may extend those of `baselines`.

    With `papers`, the folder of each paper by name, entries may also extend those of another paper, `PAPER/NAME`.
    Raises ConfigError as `read_tree`, and for a key in two files.
    """
    values, places = _extended_values(folder, baselines, papers or {}, ())
    _add_evaluations(values, folder)
    if (folder / "claims.csv").exists():
        values["claims"] = list(_claims(folder / "claims.csv"))
    _add_tables(values, folder)
    bases: dict[str, dict[str, str]] = {}
    empty: dict[str, Any] = {"authors": [], "tables": {}, "figures": {}, "claims": [], "deviations": [], "margins": {}}
    return Tree(tuple(places), {**empty, **unwrapped(values, "", bases, folder)}, bases)


def read_claims(folder: Path) -> Tree | None:
    """Return the published tables of a paper with their values; None if none are on record."""
    if not (folder / "claims.yaml").exists():
        return None
    tree = read_tree(folder / "claims.yaml", "claims")
    tree.values.setdefault("reasons", {})
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


def _extended_values(
    folder: Path, baselines: Mapping[str, Any], papers: Mapping[str, Path], below: tuple[Path, ...]
) -> tuple[dict[str, Any], list[tuple[Path, Keys]]]:
    """Return the values of a paper with each entry laid over the one that it extends, and the files."""
    if folder in below:
        raise ConfigError("a paper extends itself", where=folder, observed=[path.stem for path in (*below, folder)])
    values: dict[str, Any] = {}
    places: list[tuple[Path, Keys]] = []
    others = (path for path in sorted(folder.glob("*.yaml")) if path.name not in ("paper.yaml", "claims.yaml"))
    for path in (paper_file(folder), *others):
        part = parse(path)
        if twice := sorted(set(part) & set(values)):
            raise ConfigError(f"the key '{twice[0]}' is given twice", where=path, observed=[p.name for p, _ in places])
        values |= part
        places.append((path, ()))
    if isinstance(values.get("experiments"), list):
        values["experiments"] = _experiments(folder / "experiments", values["experiments"], places)
    for key, kind in KINDS.items():
        entries = mapping(values.get(key, {}), key, folder)
        known = dict(baselines) if key == "methods" else {}
        for other in {entry["extends"].split("/")[0] for entry in entries.values() if _elsewhere(entry)}:
            where = lookup(papers, other, kind="paper (in `extends`)", where=folder)
            there, _ = _extended_values(where, baselines, papers, (*below, folder))
            known |= {f"{other}/{name}": _as_base(key, entry, there) for name, entry in there.get(key, {}).items()}
        if key == "experiments":
            entries = {
                name: {**UNSAID, **one} if isinstance(one, dict) and "extends" not in one else one
                for name, one in entries.items()
            }
        own = ("table", "title") if key == "experiments" else ()  # an experiment does not inherit a table
        if entries:
            values[key] = {name: entry_of(name, entries, known, kind, folder, own=own) for name in entries}
        if key == "experiments":
            expand_grids(values, folder)
    return values, places


def _elsewhere(entry: Any) -> bool:
    return isinstance(entry, dict) and "/" in str(entry.get("extends", ""))


def _as_base(key: str, entry: Any, paper: Mapping[str, Any]) -> Any:
    """Return an entry of another paper as it may be extended: an experiment with its evaluations, without its rows."""
    if key != "experiments" or not isinstance(entry, dict):
        return entry
    dropped = ("title", "table", "control", "overrides", "auxiliary", "methods")
    base = {name: value for name, value in entry.items() if name not in dropped}
    if isinstance(base.get("evaluations"), list):
        base["evaluations"] = {name: paper.get("evaluations", {}).get(name, {}) for name in base["evaluations"]}
    base["diagnostics"] = {name: one for name, one in base.get("diagnostics", {}).items() if name != "loss_along"}
    return base


def _add_evaluations(values: dict[str, Any], folder: Path) -> None:
    """Move evaluations in experiments to those of the paper, and leave their names in the experiments."""
    known = mapping(values.setdefault("evaluations", {}), "evaluations", folder)
    for name, experiment in values.get("experiments", {}).items():
        own = mapping(experiment, f"experiments.{name}", folder).get("evaluations")
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
            for attack in mapping(values["evaluations"].get(str(evaluation), {}), str(evaluation), folder).get(
                "attacks"
            )
            or []
        ]
        columns = [attack for number, attack in enumerate(attacks) if attack not in attacks[:number]]
        tables[name] = {"title": title, "experiment": name, "columns": columns, **mapping(own, "table", folder)}
    tables |= mapping(values.get("tables", {}), "tables", folder)
    for name, table in tables.items():
        mapping(table, f"tables.{name}", folder).setdefault("caption", caption or "")
    if tables:
        where = folder / "report.yaml"
        values["tables"] = {name: lookup(tables, name, kind="table", where=where) for name in order or tables}


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
