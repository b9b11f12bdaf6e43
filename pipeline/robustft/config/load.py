"""All of `config/` for one scale, each file read once and checked."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robustft.config.attacks import Attacks, with_strengths
from robustft.config.backbones import Backbones
from robustft.config.check import checked
from robustft.config.claims import Claims
from robustft.config.datasets import Datasets
from robustft.config.images import Images
from robustft.config.implementations import check_components, check_levels, check_override, with_full_names
from robustft.config.machines import Machines
from robustft.config.methods import Methods
from robustft.config.paper_folder import paper_file, read_claims, read_paper
from robustft.config.papers import Paper
from robustft.config.places import has
from robustft.config.project import layers_of, read_project
from robustft.config.scale import Defaults, Scale
from robustft.config.tree import Keys, Tree, catalogue_values, merged, parse, read_catalogue, read_tree
from robustft.config.weights import WeightsCatalogue
from robustft.errors import ConfigError, lookup, nearest
from robustft.files import PROJECT_FILE, config_roots

__all__ = ["KINDS", "Config", "Document", "load_document", "merged"]

KINDS: dict[str, Any] = {
    "attacks": Attacks,
    "backbones": Backbones,
    "claims": Claims,
    "config": Defaults,
    "datasets": Datasets,
    "images": Images,
    "machines": Machines,
    "methods": Methods,
    "paper": Paper,
    "scale": Scale,
    "weights": WeightsCatalogue,
}
"""The struct that describes each kind of document."""


@dataclass(frozen=True)
class Document:
    """One document: its plain tree, and its typed object."""

    tree: Tree
    typed: Any

    @property
    def path(self) -> Path:
        """The main file of the document."""
        return self.tree.path

    @property
    def values(self) -> dict[str, Any]:
        """The plain values, for layers."""
        return self.tree.values

    @property
    def bases(self) -> dict[str, dict[str, str]]:
        """Basis and source of each tagged value by its path, such as `experiments.main.recipe.lr`."""
        return self.tree.bases


def load_document(path: Path, kind: str, *, folders: Sequence[Path] = ()) -> Document:
    """Read and check one file of a kind; it may extend files of `folders`.

    Raises ConfigError for a missing file, broken YAML, a repeated key, an unknown or missing key, a value of the wrong
    kind, and an unknown component or parameter. Each error names the place and the valid values.
    """
    return _document(read_tree(path, kind, folders=folders), kind)


def _document(tree: Tree, kind: str) -> Document:
    if kind == "attacks" and isinstance(tree.values.get("attacks"), dict):
        tree = replace(tree, values={**tree.values, "attacks": with_strengths(tree.values["attacks"])})
    tree = with_full_names(tree)
    document = Document(tree, checked(tree, KINDS[kind]))
    check_components(tree)
    if kind == "datasets":
        check_levels(tree)
    return document


def _scale_name(name: Any, roots: Sequence[Path]) -> str:
    """Return the name of a scale, which is part of paths and of shell commands."""
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_]{1,64}", name):
        scales = (path.stem for root in roots for path in (root / "scales").glob("*.yaml"))
        raise ConfigError(
            f"{str(name)[:80]!r} is no name of a scale",
            expected="small letters, digits and underscores",
            next_step=nearest(str(name)[:80], scales),
        )
    return name


class Config:
    """All of the configuration for one scale, each file read once and checked.

    It lies in folders, `roots`: a user's own project, if the working directory is one, then our `config/`. Entries of
    an earlier folder come before those of a later one.
    """

    def __init__(
        self,
        *,
        scale: str | None = None,
        papers: Any = None,
        seeds: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.roots = config_roots() if folder is None else (folder,)
        self.folder = folder = self.roots[-1]
        self.own = self.roots[0] if len(self.roots) > 1 else None
        """The folder of the user's own project."""
        self.project = read_project(self.own / PROJECT_FILE) if self.own else {}
        defaults = merged(load_document(folder / "config.yaml", "config").values, self.project.get("defaults", {}))
        self.scale_name: str = _scale_name(scale or defaults["scale"], self.roots)
        self._scale = load_document(
            self.file(f"scales/{self.scale_name}"), "scale", folders=[root / "scales" for root in self.roots]
        )
        self.scale = self._scale.values
        self.seeds: int | None = seeds or self.scale.get("seeds")
        """How many seeds of each experiment run; None: all of them."""
        self.optimizations: dict[str, bool] = {**defaults["optimizations"], **self.scale.get("optimizations", {})}
        _ = self.files, self.attacks, self.backbones, self.images
        self._check_paper_names()
        self.papers = {name: self._paper(name) for name in self._paper_names(papers or defaults["papers"])}
        self.claims = {name: self._claims(name) for name in self.papers}
        self._check_overrides()

    def file(self, name: str, *keys: str) -> Path:
        """Return the file with a name such as `scales/demo` or `datasets`, of the first root that has it.

        With `keys`, it is the first file in which they lead to a value, if there is one.
        """
        if name.startswith("papers/"):
            return paper_file(self._present[name.removeprefix("papers/")])
        paths = [path for root in self.roots if (path := root / f"{name}.yaml").is_file()]
        with_value = (path for path in paths if keys and has(path, keys))
        return next(with_value, paths[0] if paths and not keys else self.folder / f"{name}.yaml")

    @functools.cached_property
    def _layers(self) -> dict[str, dict[str, Any]]:
        """The entries that the user's data and weights add to each catalogue."""
        return layers_of(self.own, self.project) if self.own else {}

    def _entries(self, kind: str) -> dict[str, Any]:
        """Return a catalogue of all roots."""
        layers = [(self.own / PROJECT_FILE, self._layers[kind])] if self.own and kind in self._layers else []
        return _document(read_catalogue(self._files(kind), kind, *layers), kind).values

    def _files(self, kind: str) -> list[Path]:
        """Return the files of a catalogue, at least our own."""
        others = [path for root in self.roots[:-1] if (path := root / f"{kind}.yaml").is_file()]
        return [*others, self.folder / f"{kind}.yaml"]

    @functools.cached_property
    def _catalogue(self) -> dict[str, Any]:
        return self._entries("datasets")

    @functools.cached_property
    def _weights(self) -> dict[str, Any]:
        return self._entries("weights") if (self.folder / "weights.yaml").exists() else {"weights": {}}

    @property
    def sources(self) -> dict[str, Any]:
        """The sources of data sets."""
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
        """The downloads of data and weights."""
        data, weights = self._catalogue.get("files", {}), self._weights.get("files", {})
        if twice := sorted(set(data) & set(weights)):
            where = self.folder / "weights.yaml"
            raise ConfigError(f"the file '{twice[0]}' is given twice", where=where, next_step="rename one")
        return {**data, **weights}

    @functools.cached_property
    def attacks(self) -> dict[str, Any]:
        """The attacks by name."""
        return self._entries("attacks")["attacks"]  # type: ignore[no-any-return]

    @functools.cached_property
    def backbones(self) -> dict[str, Any]:
        """The architectures by name."""
        return self._entries("backbones")["backbones"]  # type: ignore[no-any-return]

    @functools.cached_property
    def images(self) -> dict[str, Any]:
        """The container images by role."""
        return load_document(self.folder / "images.yaml", "images").values["images"]  # type: ignore[no-any-return]

    @functools.cached_property
    def baselines(self) -> dict[str, Any]:
        """The methods that every paper may use."""
        return self._entries("methods")["methods"]  # type: ignore[no-any-return]

    def _check_overrides(self) -> None:
        """Raise ConfigError for an unknown parameter of a method in an experiment or the scale."""
        for name, paper in self.papers.items():
            methods = self.methods(name)
            layers: list[tuple[Tree, Keys]] = [(self._scale.tree, ("papers", name, "overrides"))]
            layers += [(paper.tree, ("experiments", one, "overrides")) for one in paper.values["experiments"]]
            for tree, keys in layers:
                values: Any = tree.values
                for key in keys:
                    values = values.get(key, {})
                for method, override in values.items():
                    check_override(tree, (*keys, method), override, methods.get(method, {}))

    @functools.cached_property
    def _present(self) -> dict[str, Path]:
        """The folder of each paper; for a paper in one file, where its folder would be."""
        found: dict[str, Path] = {}
        for root in self.roots:
            folders = [path.parent for path in (root / "papers").glob("*/paper.yaml")]
            folders += [path.with_suffix("") for path in (root / "papers").glob("*.yaml")]
            found = {folder.name: folder for folder in sorted(folders)} | found
        return dict(sorted(found.items()))

    def reproduces(self, paper: str) -> bool:
        """Tell whether a paper's names stand for themselves at this scale; of the user's own unless it replaces one."""
        return bool(self.scale["reproduces"]) or self.is_own(paper)

    def is_own(self, paper: str) -> bool:
        """Tell whether a paper is of the user's own project: its names stand for themselves."""
        return self.own is not None and self._present[paper].parent == self.own / "papers"

    def _check_paper_names(self) -> None:
        """Raise ConfigError for a paper of the scale that has no folder: its settings would have no effect."""
        for name in self.scale["papers"]:
            lookup(self._present, name, kind="paper", where=self._scale.tree.where(("papers", name)))

    def _paper_names(self, asked: Any) -> list[str]:
        """Return the papers that are asked for, each once and always in one order: results do not depend on it."""
        if asked == "all":
            names = self.scale.get("only", [name for name in self._present if self.is_own(name)] or self._present)
            return [name for name in names if self._planned_here(name)]
        names = [asked] if isinstance(asked, str) else asked
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ConfigError("papers must be `all` or a list of names", observed=repr(asked))
        for name in names:
            lookup(self._present, name, kind="paper", where=self.folder / "papers")
        return [name for name in self._present if name in names]

    def _planned_here(self, name: str) -> bool:
        lookup(self._present, name, kind="paper", where=self._scale.tree.where(("only",)))
        return self.scale_name in parse(paper_file(self._present[name])).get("scales", [self.scale_name])

    def _paper(self, name: str) -> Document:
        shared = catalogue_values(self._files("methods"), "methods")["methods"]
        document = _document(read_paper(self._present[name], shared, self._present), "paper")
        if twice := sorted(set(document.values.get("methods", {})) & set(self.baselines)):
            raise ConfigError(
                f"the method '{twice[0]}' is defined twice",
                where=document.tree.where(("methods", twice[0])),
                next_step="give the paper's method another name, or use the one in config/methods.yaml",
            )
        return document

    def _claims(self, name: str) -> dict[str, Any] | None:
        """Return a paper's tables of published values, if it has any."""
        tree = read_claims(self._present[name])
        return _document(tree, "claims").values if tree else None

    def methods(self, paper: str | None) -> dict[str, Any]:
        """Return the methods a paper may use: the shared baselines and its own."""
        own = self.papers[paper].values.get("methods", {}) if paper else {}
        return {**self.baselines, **own}
