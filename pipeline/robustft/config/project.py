"""robustft.yaml: a user's own project, with data and weights that lie on this machine.

Each of its data sets is an entry of the catalogue of data, each of its weights one of the catalogue of weights. What
the planner has to know of a file from here (its hash, its number of pictures) is in `robustft.lock` beside it: as long
as names, sizes and times are the same, nothing is read again, and a plan can be made where the files are not.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta

from robustft.config.check import checked
from robustft.config.common import Count, Maybe, Name, Names, Positive, Struct, Whole
from robustft.config.datasets import Augmentation
from robustft.config.scale import PartialOptimizations
from robustft.config.tree import Tree, parse
from robustft.errors import ConfigError, RobustftError
from robustft.files import PROJECT_FILE, own_project, sha256_file, write_json
from robustft.runtime.components import locate

LOCK = "robustft.lock"
READER = "robustft.data.datasets.picture_folder"

Share = Annotated[float, Meta(gt=0, lt=1, description="a share between 0 and 1")]


class Shares(Struct, frozen=True, kw_only=True):
    """The shares of each class that validate and test; the others train."""

    validation: Maybe[Share] = UNSET
    test: Maybe[Share] = UNSET


class Folder(Struct, frozen=True, kw_only=True):
    """A folder of pictures, CLASS/PICTURE or SPLIT/CLASS/PICTURE; `splits` are those that it has not itself.

    `size` is the side in pixels to which pictures are resized (the shorter side) and cropped; without it all have one
    size. `template` makes texts of the names of classes, for models that read texts.
    """

    folder: str
    splits: Maybe[Shares] = UNSET
    title: Maybe[str] = UNSET
    licence: Maybe[str] = UNSET
    size: Maybe[Count] = UNSET
    split_seed: Maybe[Whole] = UNSET
    augmentation: Maybe[Augmentation] = UNSET
    template: Maybe[str] = UNSET


class Checkpoint(Struct, frozen=True, kw_only=True):
    """A network of a library or of the user's, with the weights of a file or without: a backbone and a pre-training.

    `arch` is LIBRARY:NAME or MODULE:FUNCTION, `mean` and `std` are those of the images that it was trained on. With
    `classes`, the number of the file's logits, its own head is kept for methods that look at it.
    """

    arch: str
    mean: list[float]
    std: list[Positive]
    checkpoint: Maybe[str] = UNSET
    classes: Maybe[Count] = UNSET
    size: Maybe[Count] = UNSET
    gflop: Maybe[Positive] = UNSET
    parameters: Maybe[Count] = UNSET
    title: Maybe[str] = UNSET
    licence: Maybe[str] = UNSET


class ProjectFile(Struct, frozen=True, kw_only=True):
    """The project's own file: its default scale and papers, its data and its weights."""

    scale: Maybe[Name] = UNSET
    papers: Maybe[Literal["all"] | Names] = UNSET
    optimizations: PartialOptimizations = UNSET
    data: Maybe[dict[Name, Folder]] = UNSET
    weights: Maybe[dict[Name, Checkpoint]] = UNSET
    tracking: Maybe[Literal["tensorboard", "mlflow"]] = UNSET


def read_project(path: Path) -> dict[str, Any]:
    """Return what a project file says: `data`, and `defaults` as config/config.yaml has them.

    Raises the errors of `checked`. An empty file is a project without anything of its own.
    """
    values = parse(path) if path.read_text(encoding="utf-8").strip() else {}
    checked(Tree(((path, ()),), values), ProjectFile)
    defaults = {key: values[key] for key in ("scale", "papers", "optimizations") if key in values}
    rest = {"tracking": values["tracking"]} if "tracking" in values else {}
    entries = {key: values.get(key, {}) for key in ("data", "weights")}
    return {"defaults": {"scale": "own", **defaults}, **entries, **rest}


def project_defaults(*, given: Collection[str] = ()) -> dict[str, Any]:
    """Return the scale and papers of the project that the working directory is, but for keys that are `given`."""
    own = own_project()
    defaults = read_project(own / PROJECT_FILE)["defaults"] if own else {}
    return {key: value for key, value in defaults.items() if key in ("scale", "papers") and key not in given}


def layers_of(folder: Path, project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries that a project's data add to the catalogues, by the name of the catalogue's file."""
    lock = _Lock(folder / LOCK)
    entries = {name: _dataset(folder, name, entry, lock) for name, entry in project["data"].items()}
    networks = {name: _network(folder, name, entry, lock) for name, entry in project["weights"].items()}
    lock.write()
    return {
        "datasets": {
            "sources": {name: source for name, (source, _) in entries.items()},
            "datasets": {name: view for name, (_, view) in entries.items()},
        },
        "backbones": {"backbones": {name: backbone for name, (backbone, _) in networks.items()}},
        "weights": {"weights": {name: weights for name, (_, weights) in networks.items() if weights}},
    }


class _Lock:
    """Facts of files on this machine, by the path that the project file has for them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(
                "the lock of the project cannot be read",
                where=path,
                observed=error,
                next_step="delete it; it is made again where the data are",
            ) from error
        self.facts: dict[str, Any] = {}

    def of(self, name: str, stamp: str | None, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the facts of a file: measured, unless its stamp is the known one or it is not here (None)."""
        known = self.known.get(name)
        if known is None or (stamp is not None and known["stamp"] != stamp):
            known = {"stamp": stamp, **measure()}
        self.facts[name] = known
        return known

    def write(self) -> None:
        """Write the facts, if they are others than those in the file. A folder that is read-only goes without."""
        if self.facts != self.known:
            with contextlib.suppress(RobustftError):
                write_json(self.path, self.facts)


def _network(own: Path, name: str, entry: dict[str, Any], lock: _Lock) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the backbone that a network makes, and its weights; {} without a file."""
    title, shape = entry.get("title", name), [len(entry["mean"]), *[entry.get("size", 224)] * 2]
    backbone = {
        "title": title,
        "implementation": "robustft.models.backbones.library:LibraryBackbone",
        "parameters": {"arch": entry["arch"]},
        "normalisation": {"mean": entry["mean"], "std": entry["std"]},
        "shape": shape,
        **({"gflop": entry["gflop"]} if "gflop" in entry else {}),
        **({"weights": entry["parameters"]} if "parameters" in entry else {}),
    }
    if "checkpoint" not in entry:
        return backbone, {}
    path = own / Path(entry["checkpoint"]).expanduser()
    if not path.is_file() and entry["checkpoint"] not in lock.known:
        raise ConfigError(
            "there is no such file of weights", where=f"{own / PROJECT_FILE}, weights.{name}", observed=path
        )
    status = path.stat() if path.is_file() else None
    stamp = f"{status.st_size} {status.st_mtime_ns}" if status else None
    facts = lock.of(entry["checkpoint"], stamp, lambda: {"sha256": sha256_file(path)})
    weights = {
        "title": title,
        "reader": "robustft.models.pretrained.library:read",
        "parameters": {"arch": entry["arch"], "head": "classes" in entry},
        "backbone": name,
        "shape": shape,
        "classes": entry.get("classes", 0),
        "licence": entry.get("licence", "of the project's owner"),
        "source": "a file of this machine",
        "path": str(path),
        "sha256": facts["sha256"],
    }
    return backbone, weights


def _dataset(own: Path, name: str, entry: dict[str, Any], lock: _Lock) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the source and the view that a folder of pictures makes."""
    place, where = own / Path(entry["folder"]).expanduser(), f"{own / PROJECT_FILE}, data.{name}"
    if not place.is_dir() and entry["folder"] not in lock.known:
        raise ConfigError("there is no such folder of pictures", where=where, observed=place)
    # The data room's own reader, which imports no torch; found by name, as every component of a configuration is.
    stamp = locate(f"{READER}:stamp")(place) if place.is_dir() else None
    facts = lock.of(entry["folder"], stamp, lambda: locate(f"{READER}:facts")(place))
    shares = entry.get("splits", {})
    missing = [split for split in ("validation", "test") if split not in (*shares, *facts["counts"])]
    if missing:
        raise ConfigError(
            f"nothing says which pictures are the split '{missing[0]}'",
            where=where,
            expected="a share under `splits`, such as {validation: 0.2, test: 0.3}, or a folder of that name",
        )
    height, width = [entry["size"]] * 2 if "size" in entry else facts["size"]
    title, classes = entry.get("title", name), next(iter(facts["counts"].values()))
    splits = locate(f"{READER}:sizes")(facts["counts"], shares)
    source = {
        "title": title,
        "loader": f"{READER}:load",
        "licence": entry.get("licence", "of the project's owner"),
        "shape": [3, height, width],
        "levels": 255,
        "images": sum(splits.values()),
        "folder": str(place),
        "sha256": facts["sha256"],
        "parameters": {
            "splits": shares,
            "seed": entry.get("split_seed", 0),
            **({"side": entry["size"]} if "size" in entry else {}),
        },
    }
    view = {
        "title": title,
        "source": name,
        "classes": len(classes),
        "splits": splits,
        "groups": {split: split for split in splits},
        "augmentation": entry.get("augmentation", {"flip": True, "pad": max(1, min(height, width) // 8)}),
        "template": entry.get("template", "a photo of a {}."),
    }
    return source, view
