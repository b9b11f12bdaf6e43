"""Where each value of a step comes from: the layer that gives it, and on what basis. Never imports torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from robustft.config.places import find
from robustft.plan.plan import Plan
from robustft.plan.step import Step


@dataclass(frozen=True)
class Origin:
    """Where one value comes from."""

    file: str
    """The file of the layer from the folder around `config/`, such as `config/papers/twins.yaml`."""
    keys: str
    """The path of keys in that file, such as `experiments.main.recipe.lr`."""
    line: int | None = None
    basis: str | None = None
    """`published` (the paper's own text), `released` (its authors' code) or `ours`; None for a value without a tag."""
    source: str | None = None
    """What the tag says of it: a script, a section, a reason."""

    @property
    def layer(self) -> str:
        """The layer as FILE:LINE."""
        return self.file if self.line is None else f"{self.file}:{self.line}"


def origins_of(plan: Plan, step: Step) -> dict[str, Origin]:
    """Return the origin of each value that the configuration gives a step, by the value's path in its specification.

    A path joins keys by dots, such as `recipe.lr` or `attacks.0.steps`. A list of values is one value. What the plan
    computes itself (digests, texts, ranges of images) has no origin. Nothing is resolved again, but the files that the
    values stand in are parsed for their lines, each once a process.
    """
    return {path: _origin(plan, *place) for path, place in plan.places(step).items()}


@functools.lru_cache(maxsize=8192)  # many steps have values of one place
def _origin(plan: Plan, file: str, keys: str) -> Origin:
    folder = plan.config.folder
    if file.startswith("papers/"):
        document = plan.config.papers[file.removeprefix("papers/")]
        of_paper, line = document.tree.place(tuple(keys.split(".")))
        tag = document.bases.get(keys, {})
        return Origin(str(of_paper.relative_to(folder.parent)), keys, line, tag.get("basis"), tag.get("source"))
    path = folder / f"{file}.yaml"
    place = find(path, tuple(keys.split("."))) if path.is_file() else None
    # A scale that extends another one takes values from that one's file.
    name = str((place.file if place else path).relative_to(folder.parent))
    return Origin(name, keys, *((place.line, place.basis, place.source) if place else ()))
