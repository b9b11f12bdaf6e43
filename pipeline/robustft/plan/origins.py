"""The origin of each value of a step: its layer, and the basis of the value. Never imports torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from robustft.config import Config
from robustft.config.places import find
from robustft.plan.plan import Plan
from robustft.plan.step import Step


@dataclass(frozen=True)
class Origin:
    """The origin of one value."""

    file: str
    """The file of the layer from the folder around `config/`, such as `config/papers/twins.yaml`."""
    keys: str
    """The path of keys in that file, such as `experiments.main.recipe.lr`."""
    line: int | None = None
    basis: str | None = None
    """`published` (the paper's own text), `released` (its authors' code) or `ours`; None for a value without a tag."""
    source: str | None = None
    """The source in the tag: a script, a section, a reason."""

    @property
    def layer(self) -> str:
        """The layer as FILE:LINE."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


def origins_of(plan: Plan, step: Step) -> dict[str, Origin]:
    """Return the origin of each value of a step's specification, by the value's path.

    A path joins keys by dots, such as `recipe.lr` or `attacks.0.steps`. A list of values is one value. Values that the
    plan computes (digests, texts, ranges of images) have no origin. Each file with a value is parsed again for its
    lines, once in a process.
    """
    return {path: _origin(plan, *place) for path, place in plan.places(step).items()}


def _name(config: Config, path: Path) -> str:
    """Return the name of a file of the configuration: from the top of the user's own project, or of ours."""
    own = config.own is not None and path.is_relative_to(config.own)
    return str(path.relative_to(config.own if own and config.own else config.folder.parent))


@functools.lru_cache(maxsize=8192)  # many steps share the values of one place
def _origin(plan: Plan, file: str, keys: str) -> Origin:
    config = plan.config
    if file.startswith("papers/"):
        document = plan.config.papers[file.removeprefix("papers/")]
        of_paper, line = document.tree.place(tuple(keys.split(".")))
        tag = document.bases.get(keys, {})
        return Origin(_name(config, of_paper), keys, line, tag.get("basis"), tag.get("source"))
    split = tuple(keys.split("."))
    path = config.file(file, *split[: 1 if file.startswith("scales/") or len(split) < 2 else 2])
    folders = [root / "scales" for root in config.roots]
    place = find(path, split, folders=folders) if path.is_file() else None
    # A scale that extends another scale also has values of the other scale's file.
    name = _name(config, place.file if place else path)
    return Origin(name, keys, *((place.line, place.basis, place.source) if place else ()))
