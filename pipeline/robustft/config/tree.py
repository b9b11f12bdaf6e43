"""YAML files as plain trees: no key twice, exact values, and the basis and line of each value.

A value may have a tag with its origin, `{value: 60, basis: released, source: train.sh}`. The tree has the value alone;
`bases` has basis and source under the value's path.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from robustft.errors import ConfigError, lookup, nearest

BASES = ("published", "released", "ours")
"""The basis of a tagged value: the paper's own text, its authors' code, or this project's choice."""

DEPTH, SIZE = 60, 300_000
"""No file is nested deeper, or has more values, those of its aliases counted wherever they stand."""

Keys = tuple[str | int, ...]
"""A path in a tree: the keys of mappings and the positions in lists, from the top."""

# libyaml's parser, if PyYAML has it, takes a tenth of the time: half a second less in every job.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader, except that a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a mapping with a repeated key."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if unnamed := next((key for key in keys if not isinstance(key, str | int | float)), None):
            raise yaml.constructor.ConstructorError(None, None, f"{unnamed!r} is no name of a key", node.start_mark)
        if len(set(keys)) < len(keys):
            twice = next(key for number, key in enumerate(keys) if key in keys[:number])
            raise yaml.constructor.ConstructorError(None, None, f"the key '{twice}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Refuse a number whose value is not the one that a reader sees: 1:30 is 90 in YAML 1.1, and 010 is 8."""
        kind = node.tag.rpartition(":")[2]
        number: int | float = getattr(super(), f"construct_yaml_{kind}")(node)
        what = f"{node.value} is the number {number} in YAML"
        if ":" in node.value:
            what += f"; quote it if it is a text; did you mean {node.value.replace(':', '/')}?"
        elif kind != "int" or not re.fullmatch(r"[-+]?0[0-7_]+", node.value):
            return number
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)


for _kind in ("int", "float"):
    _StrictLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _StrictLoader.construct_number)


@dataclass(frozen=True)
class Tree:
    """The plain values of one document, and the files that it is read from.

    `places` are files, each with the path of its content in the tree: first the main file, then its parts, then the
    files that they extend.
    """

    places: tuple[tuple[Path, Keys], ...]
    values: dict[str, Any]
    bases: dict[str, dict[str, str]] = field(default_factory=dict)
    """Basis and source of each tagged value, by its path such as `experiments.main.recipe.lr`."""

    @property
    def path(self) -> Path:
        """The main file of the document."""
        return self.places[0][0]

    def where(self, keys: Keys) -> str:
        """Return `FILE, line N` of a value."""
        path, line = self.place(keys)
        return f"{path}, line {line}"

    def place(self, keys: Keys) -> tuple[Path, int]:
        """Return the file and line of a value, or else of the nearest value around it."""
        fitting = [(path, prefix) for path, prefix in self.places if keys[: len(prefix)] == prefix]
        lines = [(_line(path, keys[len(prefix) :]), len(prefix), path) for path, prefix in fitting]
        places = [(depth + known, line, path) for (depth, line), known, path in lines]
        depth = max(depth for depth, _, _ in places)
        return next((path, line) for known, line, path in places if known == depth)


def read_tree(path: Path, kind: str, *, folders: Sequence[Path] = ()) -> Tree:
    """Read a file, as a layer over the file that it `extends`: of its own folder, or else of the first of `folders`.

    Raises ConfigError for a missing file, broken YAML, a repeated key, circular extension and an unknown basis.
    """
    paths: list[Path] = []
    bases: dict[str, dict[str, str]] = {}
    values = unwrapped(_layered(path, kind, paths, folders), "", bases, path)
    return Tree(tuple((path, ()) for path in paths), values, bases)


def _refuse_bombs(text: str) -> None:
    """Raise ValueError for YAML that is nested too deep, that contains itself, or that its aliases make too large.

    It looks at one event after the other: libyaml's composer recurses in C, where too deep a file ends the process.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    size = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, size))
            size = 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = size
            size += before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in open_nodes):
                raise ValueError(f"the value of '&{event.anchor}' contains itself")
            size += sizes.get(str(event.anchor), 1)
        else:
            size += 1
        if len(open_nodes) > DEPTH or size > SIZE:
            what = f"nested deeper than {DEPTH} levels" if len(open_nodes) > DEPTH else f"of more than {SIZE} values"
            raise ValueError(f"the file is {what}")


def base_of(path: Path, base: str, folders: Sequence[Path]) -> Path:
    """Return the file that `path` extends. A file extends one of its own name only from another folder."""
    candidates = [folder / f"{base}.yaml" for folder in (path.parent, *folders)]
    others = [one for one in candidates if one != path and one.is_file()]
    return others[0] if others else candidates[0]


def read_catalogue(paths: Sequence[Path], kind: str, *layers: tuple[Path, dict[str, Any]]) -> Tree:
    """Read a catalogue from several files, with sections of named entries.

    An entry replaces one of its name in a later file, or is laid over the entry that it `extends`. `layers` are
    entries that come before all of the files, each with the file that they are derived from. Raises the errors of
    `read_tree`.
    """
    values = catalogue_values(paths, kind, *layers)
    bases: dict[str, dict[str, str]] = {}
    places = [path for path, _ in layers] + list(paths)
    return Tree(tuple((path, ()) for path in places), unwrapped(values, "", bases, paths[0]), bases)


def catalogue_values(paths: Sequence[Path], kind: str, *layers: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    """Return the values of `read_catalogue` with their tags."""
    parts = [*layers, *((path, parse(_existing(path, kind))) for path in paths)]
    values: dict[str, Any] = {}
    for path, part in reversed(parts):
        for section, entries in part.items():
            known = values.get(section, {})
            both = isinstance(entries, dict) and isinstance(known, dict)
            if both:
                entries = {name: entry_of(name, entries, known, f"entry of {section}", path) for name in entries}
            values[section] = {**known, **entries} if both else entries
    return values


def _existing(path: Path, kind: str) -> Path:
    if not path.is_file():
        near = nearest(path.stem, (other.stem for other in path.parent.glob("*.yaml")))
        raise ConfigError(f"there is no {kind} '{path.stem}'", where=path, next_step=near)
    return path


def entry_of(
    name: str,
    entries: Mapping[str, Any],
    known: Mapping[str, Any],
    kind: str,
    where: Path,
    *,
    own: Sequence[str] = (),
    below: tuple[str, ...] = (),
) -> Any:
    """Return an entry laid over the one that it `extends`: one of `entries`, or else of `known`, which is complete.

    An entry that extends its own name is laid over the one in `known`. The keys `own` are not inherited. Raises
    ConfigError for an unknown or circular base, and for one that is no mapping.
    """
    if name in below:
        raise ConfigError(f"the {kind} '{name}' extends itself", where=where, observed=" -> ".join((*below, name)))
    if name not in entries:
        return known[name]
    entry = entries[name]
    if not isinstance(entry, dict) or "extends" not in entry:
        return entry
    base = entry["extends"]
    lookup({**known, **entries}, base, kind=f"{kind} (in `extends` of '{name}')", where=where)
    if base == name and name in known:
        values = known[name]
    else:
        values = entry_of(base, entries, known, kind, where, own=own, below=(*below, name))
    values = mapping(values, f"{kind} of '{name}'", where)
    inherited = {key: value for key, value in values.items() if key not in own}
    return extended(inherited, {key: value for key, value in entry.items() if key != "extends"})


def mapping(value: Any, name: str, where: Path) -> dict[str, Any]:
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


def parse(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file, with its tags."""
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_bombs(text)
        tree = yaml.load(text, Loader=_StrictLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError("the file is not valid YAML", where=path, observed=error) from error
    if not isinstance(tree, dict):
        raise ConfigError("the file is no mapping", where=path, expected="`key: value`", observed=tree)
    return tree


def _layered(path: Path, kind: str, paths: list[Path], folders: Sequence[Path]) -> dict[str, Any]:
    if path in paths:
        raise ConfigError("a file extends itself", where=path, observed=" -> ".join(p.stem for p in (*paths, path)))
    paths.append(_existing(path, kind))
    tree = parse(path)
    if "extends" not in tree:
        return tree
    base = tree.pop("extends")
    if not isinstance(base, str) or not re.fullmatch(r"[a-z0-9_]+", base):
        raise ConfigError("`extends` is no name of a file beside this one", where=path, observed=repr(base))
    return extended(_layered(base_of(path, base, folders), kind, paths, folders), tree)


def unwrapped(tree: Any, path: str, bases: dict[str, dict[str, str]], where: Path) -> Any:
    """Replace each {value, basis, source} by its value, and add basis and source to `bases` under its path."""
    if isinstance(tree, dict):
        if "value" in tree and "basis" in tree:
            if tree["basis"] not in BASES:
                near = nearest(str(tree["basis"]), BASES)
                raise ConfigError(f"{path}: unknown basis '{tree['basis']}'", where=where, next_step=near)
            bases[path] = {"basis": tree["basis"], "source": str(tree.get("source", ""))}
            return tree["value"]
        return {key: unwrapped(value, f"{path}.{key}".lstrip("."), bases, where) for key, value in tree.items()}
    if isinstance(tree, list):
        return [unwrapped(value, f"{path}[{index}]", bases, where) for index, value in enumerate(tree)]
    return tree


def merged(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `override` over it, mapping by mapping."""
    result = dict(base)
    for key, value in override.items():
        # A tagged value is replaced with its tag: its source is not the source of the new value.
        both = all(isinstance(one, dict) and "basis" not in one for one in (value, result.get(key)))
        result[key] = merged(result[key], value) if both else value
    return result


def extended(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `own` values over it, without the keys that are null in `own`."""
    return _without_nulls(merged(base, own))


def _without_nulls(tree: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_nulls(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if value is not None
    }


# -- lines, only for errors: a parser with lines takes several times as long ------------------------------------------


def _line(path: Path, keys: Keys) -> tuple[int, int]:
    """Return how many of `keys` a file has, and the line of the last of them."""
    node, line = _composed(path, path.stat().st_mtime_ns), 1
    for depth, key in enumerate(keys):
        child = _child(node, key)
        if child is None:
            return depth, line
        node, line = child
    return len(keys), line


@functools.lru_cache(maxsize=32)
def _composed(path: Path, stamp: int) -> Any:  # the stamp is part of the cache's key
    return yaml.compose(path.read_text(encoding="utf-8"), Loader=_SafeLoader)


def _child(node: yaml.Node, key: str | int) -> tuple[yaml.Node, int] | None:
    """Return the node under a key, through tags and `<<`, and its line."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key].start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        return None
    for name, value in node.value:
        if name.value == str(key):
            return value, name.start_mark.line + 1
    for name, value in node.value:
        if name.value in ("<<", "value") and (inner := _child(value, key)):
            return inner
    return None
