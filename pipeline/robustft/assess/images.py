"""The images of an evaluation: of the catalogue, of a place on the disk, or arrays; read shard by shard."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustft.config.load import Config
from robustft.data.batches import Images
from robustft.data.imagefile import load_split
from robustft.data.own.arrays import collection_of
from robustft.data.own.collection import Collection
from robustft.data.own.place import read_place, stratified_order
from robustft.errors import RobustftError, nearest
from robustft.evaluate.target import Readable
from robustft.files import digest_of, sha256_file
from robustft.plan.catalogue import Catalogue
from robustft.plan.entries import Entries
from robustft.plan.graph import Graph
from robustft.provenance.run import run_step

NAMES = ("images", "labels")


@dataclass(frozen=True)
class ImageSet:
    """n labelled images in the order in which they are attacked."""

    title: str
    labels: np.ndarray
    """(n,) int64."""
    indices: np.ndarray
    """(n,) their places in the source."""
    count: int
    """The number of classes."""
    split: str
    about: dict[str, Any]
    """What identifies the source, for records: names and SHA-256 of files."""
    open: Callable[[torch.device, int | None, int | None], Readable]
    """Returns the images for a device, a number of channels and a side in pixels, where these are known."""
    classes: Sequence[str] | None = None

    @property
    def digest(self) -> str:
        """A hash over files, split and the images that were chosen."""
        return digest_of([self.about, self.split, self.indices.tolist(), self.labels.tolist()])

    def __str__(self) -> str:
        return f"{self.title}, {self.split}: {len(self.labels)} images of {self.count} classes"


def find_images(data: Any, *, split: str | None, images: int | None, log: Callable[[str], None]) -> ImageSet:
    """Return the images that are meant: a place, a name of the catalogue, or arrays (images, labels).

    Raises RobustftError if there are none, or fewer than are asked for.
    """
    if isinstance(data, tuple | list) and len(data) == 2:
        arrays = [np.asarray(part.detach().cpu() if isinstance(part, Tensor) else part) for part in data]
        hashes = {name: hashlib.sha256(part.tobytes()).hexdigest() for name, part in zip(NAMES, arrays, strict=True)}
        found = _of_collection(collection_of(*arrays, place="arrays", files=hashes), split)
    elif (Path(str(data)).expanduser()).exists():
        found = _of_collection(read_place(str(data)), split)
    else:
        found = _of_catalogue(str(data), split, log)
    if images is not None and not 0 < images <= len(found.labels):
        raise RobustftError(
            "there are not so many images",
            where=f"{found.title}, {found.split}",
            expected=f"from 1 to {len(found.labels)}",
            observed=images,
        )
    return replace(found, labels=found.labels[:images], indices=found.indices[:images])


def _of_collection(collection: Collection, split: str | None) -> ImageSet:
    groups = collection.groups
    if split is None:
        split = next((name for name in ("test", "validation", "train") if name in groups), "all")
    if split != "all" and split not in groups:
        raise RobustftError(
            f"the images have no split '{split}'", where=collection.place, next_step=nearest(split, ["all", *groups])
        )
    among = np.arange(len(collection.labels)) if split == "all" else groups[split]
    indices = among[stratified_order(collection.labels[among])]
    return ImageSet(
        title=Path(collection.place).name or collection.place,
        labels=collection.labels[indices],
        indices=indices,
        count=collection.count,
        split=split,
        about={"files": dict(collection.files)},
        open=lambda device, channels, side: _Pictures(collection, indices, device, channels, side),
        classes=collection.classes,
    )


class _Pictures:
    """Reads images of a collection when they are attacked."""

    def __init__(
        self, collection: Collection, indices: np.ndarray, device: torch.device, channels: int | None, side: int | None
    ) -> None:
        self.collection, self.indices, self.device, self.channels, self.side = (
            collection, indices, device, channels, side,
        )  # fmt: skip
        if side is None and len({collection.size_of(int(one)) for one in indices}) > 1:
            raise RobustftError(
                "the pictures have different sizes",
                where=collection.place,
                next_step="say the side that the network reads, such as --size 224",
            )

    def take(self, index: slice, /) -> tuple[Tensor, Tensor]:
        """Return images (b, C, H, W) float32 in [0, 1] and labels (b,)."""
        places = self.indices[index]
        pixels = torch.from_numpy(np.stack([self.collection.read(int(one), side=self.side) for one in places]))
        pixels = pixels.to(self.device)
        images = pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels
        if self.channels == 1 and images.shape[1] == 3:
            if not bool((images[:, :1] == images).all()):
                raise RobustftError(
                    "the network reads grey images and the pictures have colours", where=self.collection.place
                )
            images = images[:, :1]
        return images, torch.from_numpy(self.collection.labels[places]).to(self.device)


def _of_catalogue(name: str, split: str | None, log: Callable[[str], None]) -> ImageSet:
    """Return a data set of config/datasets.yaml; its source is fetched and decoded first, if it is not there."""
    config = Config(scale="paper", papers=["twins"])
    if name not in config.datasets:
        raise RobustftError(
            f"there are no images '{name}'",
            expected="a folder, an .npz file, or a name of config/datasets.yaml",
            next_step=nearest(name, config.datasets),
        )
    graph = Graph("evaluate")
    step = Catalogue(graph, Entries(config)).data(name)
    for one in graph.steps.values():
        if not all(Path(path).is_file() for path in (*one.outputs.values(), one.record)):
            log(f"{one.key} is made first")
            run_step(one, log=log)
    file, view = Path(step.outputs["data"]), config.datasets[name]
    chosen = split or ("test" if "test" in view["splits"] else next(iter(view["splits"])))
    if chosen not in view["splits"]:
        raise RobustftError(f"{name} has no split '{chosen}'", next_step=nearest(chosen, view["splits"]))
    stored = load_split(file, dataset=name, split=chosen)
    classes = view["classes"]

    def opened(device: torch.device, channels: int | None, side: int | None) -> Readable:
        return Images.of(stored, device, hold=False)

    return ImageSet(
        title=name,
        labels=stored.labels,
        indices=stored.indices,
        count=classes if isinstance(classes, int) else len(classes),
        split=chosen,
        about={"files": {str(file): sha256_file(file)}},
        open=opened,
        classes=stored.names,
    )
