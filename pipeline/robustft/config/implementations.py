"""Components in configuration files: short names are completed, and parameters are checked before a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from robustft.config.tree import Keys, Tree
from robustft.config.units import WHITE
from robustft.errors import ConfigError
from robustft.runtime.components import constant, fault_of, full_name

NAMES = {"loader": ("loader",), "reader": ("reader",), "figure": ("kind",), "attack": ("implementation", "target")}
"""The keys under which an entry of a kind names a component; `implementation` for all other kinds."""

KINDS = {
    "methods": "method",
    "defences": "method",
    "figures": "figure",
    "attacks": "attack",
    "backbones": "backbone",
    "sources": "loader",
    "weights": "reader",
    **{kind: kind for kind in ("tuning", "derivation", "head")},
}
"""The kind of component in a mapping under this key, which is one component or has one in each entry."""


NO_TARGET = "exported_model"
"""The target of an attack that sees the evaluated model itself."""


@dataclass(frozen=True)
class Use:
    """One component in a tree: the place of its name, its kind, and its parameters."""

    keys: Keys
    kind: str
    name: str
    parameters: Mapping[str, Any]


def uses(tree: Any, *, kind: str | None = None, keys: Keys = ()) -> Iterator[Use]:
    """Yield every component of a tree."""
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from uses(value, kind=KINDS.get(key, kind), keys=(*keys, key))
        elif kind and key in NAMES.get(kind, ("implementation",)) and isinstance(value, str) and value != NO_TARGET:
            yield Use((*keys, key), "target" if key == "target" else kind, value, tree.get("parameters", {}))


def with_full_names(tree: Tree) -> Tree:
    """Return a tree with `module:name` for every component. Raises ConfigError for an unknown module."""
    for use in list(uses(tree.values)):
        try:
            _put(tree.values, use.keys, full_name(use.name, use.kind))
        except ConfigError as error:
            raise ConfigError(f"{'.'.join(map(str, use.keys))}: {error}", where=tree.where(use.keys)) from None
    return tree


def _put(values: Any, keys: Keys, value: str) -> None:
    for key in keys[:-1]:
        values = values[key]
    values[keys[-1]] = value


def check_components(tree: Tree) -> None:
    """Raise ConfigError for an unknown component, an unknown parameter and a missing one."""
    for use in uses(tree.values):
        _check(use, tree)


def check_levels(tree: Tree) -> None:
    """Raise ConfigError if a source's full white is not that of its loader, which makes images brighter than 1 or dark.

    A loader of other pixels than a picture's 0 to 255 says so in its module's `WHITE`.
    """
    for name, source in tree.values["sources"].items():
        loader = source["loader"]
        white = constant(loader, "WHITE") or (WHITE if loader.startswith("robustft.") else source["levels"])
        if source["levels"] != white:
            keys = ("sources", name, "levels")
            raise ConfigError(
                f"{'.'.join(keys)}: full white of the pixels that {loader} returns is another value",
                where=tree.where(keys),
                expected=white,
                observed=source["levels"],
                next_step=f"set levels to {white}: an image is pixel/levels",
            )


def check_override(tree: Tree, keys: Keys, override: Mapping[str, Any], method: Mapping[str, Any]) -> None:
    """Raise ConfigError for an unknown parameter in a layer over a method's entry."""
    for part in ("", "tuning", "derivation"):
        base, over = (method, override) if not part else (method.get(part), override.get(part))
        if base and over and "parameters" in over and "implementation" in base:
            place = (*keys, part, "implementation") if part else (*keys, "implementation")
            use = Use(place, part or "method", base["implementation"], over["parameters"])
            _check(use, tree, partial=True)


def _check(use: Use, tree: Tree, *, partial: bool = False) -> None:
    # The function of a data source or a figure reads its whole entry, not `parameters` as arguments.
    whole = use.kind in ("loader", "figure", "target")
    fault = fault_of(use.name, {} if whole else use.parameters, kind=use.kind, partial=partial or whole)
    if fault is None:
        return
    place = (*use.keys[:-1], "parameters", fault.parameter) if fault.parameter else use.keys
    raise ConfigError(
        f"{'.'.join(map(str, place))}: {fault.what}",
        where=tree.where(place),
        expected=fault.expected,
        next_step=fault.to_do,
    )
