"""Reading `config/`: YAML with closed schemas, exact values, and errors that name the nearest valid key."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from robustft.errors import ConfigError, lookup, nearest
from robustft.files import ROOT, read_json

BASES = ("published", "released", "ours")
"""Where a tagged value comes from: the paper's own text, its authors' code, or this project's choice."""


# libyaml's parser, where PyYAML has it, takes a tenth of the time: half a second less in every job.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader, except that a key given twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a mapping that gives one key twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{twice[0]}' is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _unwrap(tree: Any, path: str, bases: dict[str, dict[str, str]], where: Path) -> Any:
    """Replace each {value, basis, source} by its value, noting basis and source under the value's path."""
    if isinstance(tree, dict):
        if "value" in tree and "basis" in tree:
            if tree["basis"] not in BASES:
                raise ConfigError(
                    f"{path}: unknown basis '{tree['basis']}'", where=where, next_step=nearest(tree["basis"], BASES)
                )
            bases[path] = {"basis": tree["basis"], "source": str(tree.get("source", ""))}
            return tree["value"]
        return {key: _unwrap(value, f"{path}.{key}".lstrip("."), bases, where) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_unwrap(value, f"{path}[{index}]", bases, where) for index, value in enumerate(tree)]
    return tree


@functools.cache
def _validator(schema_path: Path) -> Any:
    import jsonschema  # here, for a step whose configuration has been validated already does without it

    schema = read_json(schema_path)
    schema["$defs"] = read_json(schema_path.parent / "common.schema.json")["$defs"]
    return jsonschema.Draft202012Validator(schema)


def _deepest(error: Any) -> Any:
    """Follow `oneOf`/`anyOf` into the branch that was meant, the one whose constants fit.

    A choice that the schema describes in words ("an exact fraction...") is left whole: its words say it best.
    """
    while error.context and "description" not in error.schema:
        branches: dict[int, list[Any]] = {}
        for inner in error.context:
            branches.setdefault(inner.schema_path[0], []).append(inner)
        meant = min(branches.values(), key=lambda found: (any(e.validator == "const" for e in found), len(found)))
        error = min(meant, key=_order)
    return error


def _order(error: Any) -> tuple[bool, list[str]]:
    """Sort unknown keys first: a key spelt wrong is also a key that is missing."""
    return error.validator != "additionalProperties", list(map(str, error.absolute_path))


def _validate(tree: Any, schema_path: Path, where: Path) -> None:
    errors = [_deepest(error) for error in _validator(schema_path).iter_errors(tree)]
    if not errors:
        return
    error = min(errors, key=_order)
    path = ".".join(str(part) for part in error.absolute_path) or "top level"
    if error.validator == "additionalProperties":
        valid = error.schema.get("properties", {})
        extra = next(key for key in error.instance if key not in valid)
        raise ConfigError(f"{path}: unknown key '{extra}'", where=where, next_step=nearest(str(extra), valid))
    if error.validator == "required":
        missing = next(key for key in error.schema["required"] if key not in error.instance)
        raise ConfigError(f"{path}: the key '{missing}' is missing", where=where, next_step=f"add '{missing}'")
    if error.validator == "enum":
        raise ConfigError(
            f"{path}: '{error.instance}' is not a valid value",
            where=where,
            next_step=nearest(str(error.instance), map(str, error.schema["enum"])),
        )
    raise ConfigError(f"{path}: {error.message}", where=where, expected=error.schema.get("description"))


@dataclass(frozen=True)
class Document:
    """One validated YAML file: its plain values, and where each tagged value comes from."""

    path: Path
    values: dict[str, Any]
    bases: dict[str, dict[str, str]]


def _parsed(path: Path, schema: str, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return a file's tree, laid over that of the file beside it that it `extends`."""
    if path in below:
        raise ConfigError("a file extends itself", where=path, observed=" -> ".join(p.stem for p in (*below, path)))
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except FileNotFoundError as error:
        near = nearest(path.stem, (other.stem for other in path.parent.glob("*.yaml")))
        raise ConfigError(f"there is no {schema} '{path.stem}'", where=path, next_step=near) from error
    except yaml.YAMLError as error:
        raise ConfigError("the file is not valid YAML", where=path, observed=error) from error
    if isinstance(tree, dict) and "extends" in tree:
        base = _parsed(path.with_name(f"{tree.pop('extends')}.yaml"), schema, (*below, path))
        return merged(base, tree)
    return tree  # type: ignore[no-any-return]


def load_document(
    path: Path, schema: str, schemas: Path = ROOT / "config" / "schemas", *, validate: bool = True
) -> Document:
    """Read one file and, unless told otherwise, validate it against `config/schemas/<schema>.schema.json`.

    Raises ConfigError for a missing file, broken YAML, a key given twice, an unknown or missing key, or a value of
    the wrong kind; each says where and what is valid.
    """
    tree = _parsed(path, schema)
    bases: dict[str, dict[str, str]] = {}
    values = _unwrap(tree, "", bases, path)
    if validate:
        _validate(values, schemas / f"{schema}.schema.json", path)
    return Document(path, values, bases)


def merged(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `override` laid over it, mapping by mapping."""
    result = dict(base)
    for key, value in override.items():
        # A value that is tagged with its source is replaced whole: its source is not that of another value.
        both = isinstance(value, dict) and isinstance(result.get(key), dict) and "basis" not in value
        result[key] = merged(result[key], value) if both else value
    return result


class Config:
    """All of `config/` for one scale, each file read once and checked.

    With "none" for `papers` nothing is planned for any paper, and what lists data, weights and attacks is read when it
    is first asked for. Without `validate` the schemas are not looked at: for who compares what comes of it with what a
    validated configuration gave.
    """

    def __init__(
        self,
        *,
        scale: str | None = None,
        papers: Any = None,
        folder: Path = ROOT / "config",
        validate: bool = True,
    ) -> None:
        self.folder, self._load = folder, functools.partial(load_document, validate=validate)
        defaults = self._load(folder / "config.yaml", "config").values
        self.scale_name: str = scale or defaults["scale"]
        self.scale = self._load(folder / "scales" / f"{self.scale_name}.yaml", "scale").values
        self.optimizations: dict[str, bool] = {**defaults["optimizations"], **self.scale.get("optimizations", {})}
        names = [] if papers == "none" else self._paper_names(papers or defaults["papers"])
        if papers != "none":
            _ = self.files, self.attacks, self.backbones, self.images
        self.papers = {name: self._paper(name) for name in names}
        self.claims = {name: self._claims(name) for name in self.papers}

    @functools.cached_property
    def _catalogue(self) -> dict[str, Any]:
        return self._load(self.folder / "datasets.yaml", "datasets").values

    @functools.cached_property
    def _weights(self) -> dict[str, Any]:
        path = self.folder / "weights.yaml"
        return self._load(path, "weights").values if path.exists() else {"weights": {}}

    @property
    def sources(self) -> dict[str, Any]:
        """Where data sets come from."""
        return self._catalogue["sources"]  # type: ignore[no-any-return]

    @property
    def datasets(self) -> dict[str, Any]:
        """The data sets, views of sources."""
        return self._catalogue["datasets"]  # type: ignore[no-any-return]

    @property
    def weights(self) -> dict[str, Any]:
        """Published weights."""
        return self._weights["weights"]  # type: ignore[no-any-return]

    @functools.cached_property
    def files(self) -> dict[str, Any]:
        """The files from elsewhere that data and weights are made of."""
        data, weights = self._catalogue.get("files", {}), self._weights.get("files", {})
        if twice := sorted(set(data) & set(weights)):
            where = self.folder / "weights.yaml"
            raise ConfigError(f"the file '{twice[0]}' is given twice", where=where, next_step="rename one")
        return {**data, **weights}

    @functools.cached_property
    def attacks(self) -> dict[str, Any]:
        """The attacks by name."""
        return self._load(self.folder / "attacks.yaml", "attacks").values["attacks"]  # type: ignore[no-any-return]

    @functools.cached_property
    def backbones(self) -> dict[str, Any]:
        """The architectures by name."""
        document = self._load(self.folder / "backbones.yaml", "backbones")
        return document.values["backbones"]  # type: ignore[no-any-return]

    @functools.cached_property
    def images(self) -> dict[str, Any]:
        """The container images by role."""
        return self._load(self.folder / "images.yaml", "images").values["images"]  # type: ignore[no-any-return]

    @functools.cached_property
    def baselines(self) -> dict[str, Any]:
        """The methods that every paper may use."""
        return self._load(self.folder / "methods.yaml", "methods").values["methods"]  # type: ignore[no-any-return]

    def _paper_names(self, wanted: Any) -> list[str]:
        present = sorted(path.stem for path in (self.folder / "papers").glob("*.yaml"))
        if wanted == "all":
            return present
        names = [wanted] if isinstance(wanted, str) else list(wanted)
        for name in names:
            lookup(dict.fromkeys(present, None), name, kind="paper", where=self.folder / "papers")
        return names

    def _paper(self, name: str) -> Document:
        document = self._load(self.folder / "papers" / f"{name}.yaml", "paper")
        own = document.values.get("methods", {})
        clash = sorted(set(own) & set(self.baselines))
        if clash:
            raise ConfigError(
                f"the method '{clash[0]}' is defined twice",
                where=document.path,
                next_step="give the paper's method another name, or use the one in config/methods.yaml",
            )
        return document

    def _claims(self, name: str) -> dict[str, Any] | None:
        """Return a paper's long tables of published values, if it has any."""
        path = self.folder / "papers" / "claims" / f"{name}.yaml"
        return self._load(path, "claims").values if path.exists() else None

    def methods(self, paper: str | None) -> dict[str, Any]:
        """Return the methods a paper may use: the shared baselines and its own."""
        own = self.papers[paper].values.get("methods", {}) if paper else {}
        return {**self.baselines, **own}
