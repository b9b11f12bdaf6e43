"""Checks a plain tree against its struct; an error names the file, the line and the nearest name.

msgspec checks a whole file in a millisecond. Only if that fails, `_fault` searches for the wrong value.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

import msgspec

from robustft.config.tree import Keys, Tree
from robustft.errors import ConfigError, nearest

T = TypeVar("T")


@dataclass(frozen=True)
class _Fault:
    what: str
    keys: Keys
    expected: str | None = None
    to_do: str | None = None


def checked(tree: Tree, kind: type[T]) -> T:
    """Return the typed object of a tree.

    Raises ConfigError for an unknown or missing key, and for a value of the wrong kind or out of its range.
    """
    try:
        return msgspec.convert(tree.values, kind)
    except msgspec.ValidationError as error:
        fault = _fault(tree.values, kind, ()) or _Fault(str(error), ())
        names = ".".join(str(key) for key in fault.keys) or "top level"
        raise ConfigError(
            f"{names}: {fault.what}", where=tree.where(fault.keys), expected=fault.expected, next_step=fault.to_do
        ) from None


def _fault(value: Any, kind: Any, keys: Keys) -> _Fault | None:
    """Return the innermost fault of a value; None if it is valid."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        message = str(error).partition(" - at `")[0].removeprefix("Expected ")
    else:
        return None
    for option in _options(kind):
        if _is_struct(option) and isinstance(value, dict):
            tags, tag = _tagged(kind), option.__struct_config__.tag_field
            if tag in value and value[tag] not in tags:
                return _Fault(
                    f"'{value[tag]}' is not a valid value", (*keys, tag), to_do=nearest(str(value[tag]), tags)
                )
            return _struct_fault(value, tags.get(value.get(tag), option), keys, message)
        origin, arguments = typing.get_origin(option), typing.get_args(option)
        if origin is dict and isinstance(value, dict):
            named = [_renamed(_fault(key, arguments[0], (*keys, key))) for key in value]
            inner = [_fault(child, arguments[1], (*keys, key)) for key, child in value.items()]
        elif origin is list and isinstance(value, list):
            named, inner = [], [_fault(child, arguments[0], (*keys, index)) for index, child in enumerate(value)]
        else:
            continue
        if fault := next(filter(None, [*named, *inner]), None):
            return fault
    return _leaf(value, kind, keys, message)


def _renamed(fault: _Fault | None) -> _Fault | None:
    return fault and replace(fault, what="this is no valid name")


def _struct_fault(value: dict[Any, Any], kind: Any, keys: Keys, message: str) -> _Fault:
    """Return the first fault of a mapping. Unknown keys come first: a misspelt key is also a missing key."""
    config, fields = kind.__struct_config__, {field.encode_name: field for field in msgspec.structs.fields(kind)}
    tag = config.tag_field
    known = [*fields, *([tag] if tag else [])]
    for key in value:
        if key not in known:
            return _Fault(f"unknown key '{key}'", (*keys, key), to_do=nearest(str(key), known))
    for name, field in fields.items():
        if name in value and (fault := _fault(value[name], field.type, (*keys, name))):
            return fault
    needed = [*([tag] if tag else []), *(name for name, field in fields.items() if field.required)]
    for name in needed:
        if name not in value:
            return _Fault(f"the key '{name}' is missing", keys, to_do=f"add '{name}'")
    return _Fault(message, keys)


def _tagged(kind: Any) -> dict[Any, Any]:
    """Return the structs of a union by their tag; an empty mapping without tags."""
    structs = [option for option in _options(kind) if _is_struct(option)]
    return {option.__struct_config__.tag: option for option in structs if option.__struct_config__.tag}


def _leaf(value: Any, kind: Any, keys: Keys, message: str) -> _Fault:
    words = [word for option in _options(kind) for word in _literals(option)]
    if words and isinstance(value, str):
        return _Fault(f"'{value}' is not a valid value", keys, to_do=nearest(value, map(str, words)))
    return _Fault(f"{value!r} is not a valid value", keys, expected=_description(kind) or message)


def _options(kind: Any) -> list[Any]:
    """Return the members of a union, or the type itself, without annotations."""
    if typing.get_origin(kind) is Annotated:
        return _options(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [option for one in typing.get_args(kind) for option in _options(one)]
    return [kind]


def _literals(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()


def _description(kind: Any) -> str | None:
    """Return the description in the type's annotation."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return next(filter(None, map(_description, typing.get_args(kind))), None)
    notes = typing.get_args(kind)[1:] if typing.get_origin(kind) is Annotated else ()
    return next((str(note.description) for note in notes if getattr(note, "description", None)), None)


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
