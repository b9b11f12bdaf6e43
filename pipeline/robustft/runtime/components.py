"""Components: the classes and functions that a configuration names, and their parameters.

A configuration says `trades.Trades`, or `package.module:Name` for a component from elsewhere. A specification always
says `robustft.methods.trades:Trades`. Planning checks names and parameters by reading the component's source text,
where its annotations stand: it imports none, and so never imports torch. Jobs import and build them.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Union

from robustft.errors import ConfigError, nearest
from robustft.files import PACKAGE, module_file

ROOMS = {
    "method": ("methods",),
    "tuning": ("models",),
    "derivation": ("models",),
    "backbone": ("models",),
    "head": ("models",),
    "reader": ("models",),
    "loader": ("data",),
    "attack": ("attacks",),
    "target": ("attacks", "models"),
    "figure": ("report/figures",),
}
"""The folders that are searched for a short name of each kind of component, in this order, with subfolders."""

GIVEN: dict[str, tuple[int, frozenset[str]]] = {
    "backbone": (0, frozenset({"channels"})),
    "head": (1, frozenset({"classes", "prompts"})),
    "derivation": (1, frozenset()),
    "attack": (3, frozenset({"threat", "generator"})),
    "reader": (1, frozenset()),
}
"""The number of positional arguments and the keywords that this package gives each kind; a configuration may not."""


def full_name(name: str, kind: str) -> str:
    """Return `module:name` of a component of a kind by its short name; a full one stays as it is.

    Raises ConfigError if no module of the kind has that name, or several do.
    """
    module, dot, attribute = name.rpartition(".")
    if ":" in name or not dot:
        return name
    known = {stem: names for room in reversed(ROOMS[kind]) for stem, names in _modules(room).items()}
    if module not in known:
        raise ConfigError(f"there is no module '{module}' for a {kind}", next_step=nearest(module, known))
    if len(known[module]) > 1:
        raise ConfigError(f"several modules are named '{module}'", expected="a full name", observed=known[module])
    return f"{known[module][0]}:{attribute}"


@functools.cache
def _modules(room: str) -> dict[str, list[str]]:
    """Return the modules of a folder by the last part of their names."""
    modules: dict[str, list[str]] = {}
    for path in sorted((PACKAGE / room).rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        modules.setdefault(path.stem, []).append(".".join(parts))
    return modules


def locate(name: str) -> Any:
    """Import and return the class or function `module:name`. Raises ConfigError if the module lacks the name."""
    module, _, attribute = name.partition(":")
    imported = importlib.import_module(module)
    if not hasattr(imported, attribute):
        raise ConfigError(f"the module {module} has no '{attribute}'", next_step=nearest(attribute, vars(imported)))
    return getattr(imported, attribute)


def build(name: str, parameters: Mapping[str, Any], *, kind: str, title: str) -> Any:
    """Return an instance of a class with these parameters.

    Raises ConfigError, which begins with `title`, for an unknown parameter (with the nearest name), a missing one, and
    a value of another type than its field's.
    """
    if fault := fault_of(name, parameters, kind=kind):
        raise ConfigError(f"{title}: {fault.what}", expected=fault.expected, next_step=fault.to_do)
    return locate(name)(**parameters)


# -- faults of parameters, by the source text -----------------------------------------------------------------


@dataclass(frozen=True)
class ComponentFault:
    """A fault of a component, or of one of its parameters."""

    what: str
    parameter: str | None = None
    expected: str | None = None
    to_do: str | None = None


@dataclass(frozen=True)
class Signature:
    """The parameters of a class or function: their types as far as the text has them, and those without a default."""

    types: dict[str, Any] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    closed: bool = True


def fault_of(name: str, parameters: Mapping[str, Any], *, kind: str, partial: bool = False) -> ComponentFault | None:
    """Return the first fault of a component and its parameters; None if the text shows none.

    `partial` parameters are merged into others later, so none counts as missing.
    """
    module, _, attribute = name.partition(":")
    path = _path(module)
    if path is None:
        return ComponentFault(f"there is no module '{module}'")
    node = _definition(path, attribute)
    if node is None:
        names = [one.name for one in _tree(path).body if isinstance(one, ast.ClassDef | ast.FunctionDef)]
        return ComponentFault(f"the module {module} has no '{attribute}'", to_do=nearest(attribute, names))
    signature = _signature(*node, positional=GIVEN.get(kind, (0, frozenset()))[0])
    given = GIVEN.get(kind, (0, frozenset()))[1]
    names = [one for one in signature.types if one not in given]
    for key, value in parameters.items():
        if key not in names and signature.closed:
            return ComponentFault(f"'{attribute}' has no parameter '{key}'", key, to_do=nearest(key, names))
        if not _fits(value, signature.types.get(key, Any)):
            words = _words(signature.types[key])
            return ComponentFault(f"'{attribute}' cannot take {key}={value!r}", key, expected=words)
    missing = sorted(signature.required - set(parameters) - given)
    if missing and not partial:
        return ComponentFault(f"'{attribute}' needs the parameter '{missing[0]}'", to_do=f"add '{missing[0]}'")
    return None


_path = functools.cache(module_file)


def constant(name: str, attribute: str) -> Any:
    """Return a number or text that a component's module assigns to a name; None if it assigns none."""
    path = _path(name.partition(":")[0])
    for node in _tree(path).body if path else ():
        if isinstance(node, ast.Assign) and attribute in {one.id for one in node.targets if isinstance(one, ast.Name)}:
            return ast.literal_eval(node.value)
    return None


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@functools.cache
def _definition(path: Path, name: str) -> tuple[Path, ast.ClassDef | ast.FunctionDef] | None:
    """Return where a class or function is defined, following imports in its package and in this one; None if not."""
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return path, node
        if isinstance(node, ast.ImportFrom) and node.module and name in {one.asname or one.name for one in node.names}:
            original = next(one.name for one in node.names if (one.asname or one.name) == name)
            followed = (*path.parts, PACKAGE.name)
            inner = _path(node.module) if _package(node.module) in followed else None
            return _definition(inner, original) if inner else None
    return None


def _package(module: str) -> str:
    return module.split(".")[0]


@functools.cache
def _signature(path: Path, node: ast.ClassDef | ast.FunctionDef, *, positional: int = 0) -> Signature:
    """Return the parameters of a function, of a class's own `__init__`, or the fields of a dataclass and its bases."""
    if isinstance(node, ast.FunctionDef):
        return _arguments(path, node, skipped=positional)
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return _arguments(path, one, skipped=positional + 1)
    types: dict[str, Any] = {}
    required: set[str] = set()
    for base in node.bases:
        parent = _definition(path, base.id) if isinstance(base, ast.Name) else None
        if parent is not None and isinstance(parent[1], ast.ClassDef):
            inherited = _signature(*parent)
            types |= inherited.types
            required = (required - set(inherited.types)) | inherited.required
    for one in node.body:
        own = isinstance(one, ast.AnnAssign) and "ClassVar" not in ast.dump(one.annotation)
        if isinstance(one, ast.AnnAssign) and own and isinstance(one.target, ast.Name):
            types[one.target.id] = _type(path, one.annotation)
            required -= {one.target.id}
            if one.value is None:
                required.add(one.target.id)
    return Signature(types, frozenset(required))


def _arguments(path: Path, node: ast.FunctionDef, *, skipped: int) -> Signature:
    arguments = node.args
    names = [*arguments.posonlyargs, *arguments.args]
    optional = {one.arg for one in names[len(names) - len(arguments.defaults) :]} if arguments.defaults else set()
    optional |= {
        one.arg for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is not None
    }
    taken = [*names[skipped:], *arguments.kwonlyargs]
    types = {one.arg: _type(path, one.annotation) for one in taken}
    return Signature(types, frozenset(set(types) - optional), closed=arguments.kwarg is None)


# -- types -------------------------------------------------------------------------------------------------------------

_SIMPLE: dict[str, Any] = {"float": float, "int": int, "bool": bool, "str": str, "None": None}
_LISTS, _DICTS = ("list", "Sequence", "tuple", "Iterable"), ("dict", "Mapping")


def _type(path: Path, node: ast.expr | None) -> Any:
    """Return the type that an annotation writes, as far as YAML can hold it; Any for all else."""
    if isinstance(node, ast.Constant):
        return None if node.value is None else Any
    if isinstance(node, ast.Name):
        return _SIMPLE[node.id] if node.id in _SIMPLE else _alias(path, node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return Union[_type(path, node.left), _type(path, node.right)]  # noqa: UP007 (built of values)
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if node.value.id == "Literal":
            return Literal[tuple(ast.literal_eval(one) for one in inner)]  # type: ignore[misc]
        if node.value.id in _LISTS:
            return list[_type(path, inner[0])]  # type: ignore[misc]
        if node.value.id in _DICTS:
            return dict[str, _type(path, inner[-1])]  # type: ignore[misc]
    return Any


def _alias(path: Path, name: str) -> Any:
    """Return the type that a module gives a name, `Norm = Literal["linf", "l2"]`."""
    for node in _tree(path).body:
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            return _type(path, node.value)
    return Any


def _fits(value: Any, kind: Any) -> bool:
    import msgspec  # here, for most of what is imported from this module checks nothing

    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _words(kind: Any) -> str:
    """Return a type in words."""
    simple = {float: "a number", int: "a whole number", bool: "true or false", str: "a text", type(None): "null"}
    if kind in simple:
        return simple[kind]
    inner: tuple[Any, ...] = getattr(kind, "__args__", ())
    if getattr(kind, "__origin__", None) is Literal:
        return ("one of " if len(inner) > 1 else "") + ", ".join(map(repr, inner))
    if getattr(kind, "__origin__", None) in (list, dict):
        return f"a {'list' if kind.__origin__ is list else 'mapping'} of {_words(inner[-1])}"
    return " or ".join(map(_words, inner)) if inner else "any value"
