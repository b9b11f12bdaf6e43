"""Values in layers: several places of the configuration give parts of a value, and later places override earlier ones.

The layers of a recipe are the experiment, the scale, the scale's entry for the paper, and the method. `Layered` keeps
these layers beside the merged value, so that `plan/origins.py` can return the layer of each value. A value is merged
when it is first read. Origins are computed only on request.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from robustft.config import merged


class Place(NamedTuple):
    """The place of a value: a file of `config/` without its ending, and the path of keys in it, joined by dots."""

    file: str
    path: str

    def __truediv__(self, key: str) -> Place:
        """Return the place of `key` below this one."""
        return Place(self.file, f"{self.path}.{key}" if self.path else key)


class Layer(NamedTuple):
    """The values of one place: a mapping, or a single value."""

    place: Place
    value: Any


class Layered:
    """One value, or one mapping of values, from layers. A later layer overrides the leaves of an earlier one.

    Mappings are merged key by key. Anything else, a list too, is replaced whole.
    """

    def __init__(self, *layers: Layer) -> None:
        self.layers = layers

    @functools.cached_property
    def value(self) -> Any:
        """The merged value; None if there is no layer."""
        values = [layer.value for layer in self.layers]
        return functools.reduce(_over, values) if values else None

    def __getitem__(self, key: str) -> Layered:
        """Return the layers of one key, possibly none."""
        return Layered(
            *(
                Layer(place / key, value[key])
                for place, value in self.layers
                if isinstance(value, dict) and key in value
            )
        )

    def parts(self) -> dict[str, Layered]:
        """Return the entries of a mapping, each with its own layers."""
        return {key: self[key] for key in self.value}

    def each(self) -> list[Layered]:
        """Return the elements of a list, each with the place of the list."""
        return [Layered(Layer(self.layers[-1].place, one)) for one in self.value]

    def places(self) -> dict[str, Place]:
        """Return the place of each leaf, by its path below this value ("" is the value itself)."""
        places: dict[str, Place] = {}
        for layer in self.layers:
            for path, place in _leaves(layer.value, "", layer.place):
                replaced = [old for old in places if _below(old, path) or _below(path, old)]
                for old in replaced:
                    del places[old]
                places[path] = place
        return places


class Parts(dict[str, Any]):
    """A mapping whose entries are `Layered`, `Parts`, lists of them, or plain values that the plan computes."""

    @functools.cached_property
    def value(self) -> dict[str, Any]:
        """The plain mapping for the specification of a step."""
        return {key: _plain(part) for key, part in self.items()}

    def places(self) -> dict[str, Place]:
        """Return the place of each leaf that comes from the configuration, by its path."""
        return {
            f"{key}.{path}" if path else key: place
            for key, part in self.items()
            for path, place in _places(part).items()
        }


def given(file: str, path: str, value: Any) -> Layered:
    """Return a value of one place."""
    return Layered(Layer(Place(file, path), value))


def layers_at(file: str, tree: Mapping[str, Any], *keys: str) -> list[Layer]:
    """Return the layer at a path of keys in the tree of a file: one, or none if a key is missing."""
    value: Any = tree
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return []
        value = value[key]
    return [Layer(Place(file, ".".join(keys)), value)]


def _over(base: Any, override: Any) -> Any:
    both = isinstance(base, dict) and isinstance(override, dict)
    return merged(base, override) if both else override


def _plain(part: Any) -> Any:
    if isinstance(part, Layered | Parts):
        return part.value
    return [_plain(one) for one in part] if isinstance(part, list) else part


def _places(part: Any) -> dict[str, Place]:
    if isinstance(part, Layered | Parts):
        return part.places()
    if isinstance(part, list):
        return Parts({str(index): one for index, one in enumerate(part)}).places()
    return {}


def _leaves(value: Any, path: str, place: Place) -> list[tuple[str, Place]]:
    """Return the path and place of every leaf: a value that is no mapping, or an empty mapping."""
    if not isinstance(value, dict) or not value:
        return [(path, place)]
    below = [(f"{path}.{key}" if path else key, place / key, inner) for key, inner in value.items()]
    return [leaf for inner_path, inner_place, inner in below for leaf in _leaves(inner, inner_path, inner_place)]


def _below(path: str, other: str) -> bool:
    """Tell whether `path` is `other` or below it."""
    return path == other or not other or path.startswith(f"{other}.")
