"""The origin of each value of a step: its layer, and the basis of the value. Never imports torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

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


@functools.lru_cache(maxsize=8192)  # many steps share the values of one place
def _origin(plan: Plan, file: str, keys: str) -> Origin:
    folder = plan.config.folder
    if file.startswith("papers/"):
        document = plan.config.papers[file.removeprefix("papers/")]
        of_paper, line = document.tree.place(tuple(keys.split(".")))
        tag = document.bases.get(keys, {})
        return Origin(str(of_paper.relative_to(folder.parent)), keys, line, tag.get("basis"), tag.get("source"))
    path = folder / f"{file}.yaml"
    place = find(path, tuple(keys.split("."))) if path.is_file() else None
    # A scale that extends another scale also has values of the other scale's file.
    name = str((place.file if place else path).relative_to(folder.parent))
    return Origin(name, keys, *((place.line, place.basis, place.source) if place else ()))
