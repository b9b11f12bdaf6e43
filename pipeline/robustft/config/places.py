"""The place of a value of `config/`: its file and line, and the basis and source in its tag.

Planning does not need places, so files are parsed for them only on request: a parser with lines takes several times as
long.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from robustft.config.tree import base_of

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Position(NamedTuple):
    """A value's file and line, and the basis and source of its tag, if it has one."""

    file: Path
    line: int
    basis: str | None
    source: str | None


def find(path: Path, keys: tuple[str, ...], *, folders: Sequence[Path] = ()) -> Position | None:
    """Return the position of a value in a file, or in a file that it extends, of its own folder or of `folders`.

    `keys` are the path from the top of the file to the value, through tags, anchors and `<<`. A value that is in no
    file, such as the name of an entry, has the position of the mapping around it. None if there is none.
    """
    node, line = _document(path), 1
    tag: tuple[str | None, str | None] = (None, None)
    for key in keys:
        child = _child(node, key)
        if child is None:
            base = _child(_document(path), "extends")
            there = find(base_of(path, base[0].value, folders), keys, folders=folders) if base else None
            return there or (Position(path, line, *tag) if node is not _document(path) else None)
        line, tag = child[1], _tag(child[0]) or tag
        node = _untagged(child[0])
    return Position(path, line, *tag)


def has(path: Path, keys: tuple[str, ...]) -> bool:
    """Tell whether keys lead from the top of a file to a value."""
    node: yaml.Node = _document(path)
    for key in keys:
        child = _child(node, key)
        if child is None:
            return False
        node = _untagged(child[0])
    return True


@functools.cache
def _document(path: Path) -> yaml.Node:
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    assert node is not None, f"{path} is no empty file: the configuration was read from it"
    return node


def _child(node: yaml.Node, key: str) -> tuple[yaml.Node, int] | None:
    """Return the node under a key and the key's line; the mapping's own key comes before a merged one."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for name, value in node.value:
        if name.value == key:
            return value, name.start_mark.line + 1
    for name, value in node.value:
        if name.value == "<<":
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if inner := _child(base, key):
                    return inner
    return None


def _tag(node: yaml.Node) -> tuple[str, str | None] | None:
    """Return basis and source of a tagged value."""
    basis, source = _child(node, "basis"), _child(node, "source")
    if basis is None or _child(node, "value") is None:
        return None
    return basis[0].value, source[0].value if source else None


def _untagged(node: yaml.Node) -> yaml.Node:
    value = _child(node, "value")
    return value[0] if value and _tag(node) else node
