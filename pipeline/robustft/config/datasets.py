"""config/datasets.yaml: files, the sources that they hold, and the data sets that are views of sources."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta

from robustft.config.common import Component, Count, File, Maybe, Name, Sha256, Shape, Struct, Whole, require

Texts = Annotated[list[str], Meta(min_length=1)]


class Geometry(Struct, frozen=True, kw_only=True):
    """The size of images, in pixels: a resize of the shorter side (or height and width), then a central crop."""

    resize: Count | Annotated[list[Count], Meta(min_length=2, max_length=2)]
    crop: Maybe[Count] = UNSET


class CorruptedFrom(Struct, frozen=True, kw_only=True):
    """The images that a corrupted source is computed from."""

    dataset: Name
    split: Literal["test", "validation"]
    images: Maybe[Count] = UNSET


class Source(Struct, frozen=True, kw_only=True):
    """Images in their published form, decoded once into one file.

    It comes from downloads (`files` by role), from a file of an installed package, from a folder of this machine, or
    from another data set.
    `shape` is (C, H, W), `levels` the pixel value of full white, and `lossy` whether the pixels differ from the
    published ones.
    """

    title: str
    loader: Component
    licence: str
    shape: Shape
    levels: Count
    files: Maybe[Annotated[dict[Name, Name], Meta(min_length=1)]] = UNSET
    package_file: Maybe[str] = UNSET
    folder: Maybe[str] = UNSET
    sha256: Maybe[Sha256] = UNSET
    bytes: Maybe[Count] = UNSET
    terms: Maybe[str] = UNSET
    lossy: Maybe[bool] = UNSET
    images: Maybe[Count] = UNSET
    geometry: Maybe[Geometry] = UNSET
    parameters: Maybe[dict[str, Any]] = UNSET
    draw_seed: Maybe[Whole] = UNSET
    corruptions: Maybe[Texts] = UNSET
    corrupted_from: Maybe[CorruptedFrom] = UNSET

    def __post_init__(self) -> None:
        """Refuse a source without an origin."""
        Struct.__post_init__(self)
        require(
            self, ("package_file", "sha256", "bytes"), ("corrupted_from",), ("files", "images"), ("folder", "sha256")
        )


class Splits(Struct, frozen=True, kw_only=True):
    """Numbers of images."""

    test: Count
    train: Maybe[Count] = UNSET
    validation: Maybe[Count] = UNSET


class Groups(Struct, frozen=True, kw_only=True):
    """The group of a source's images for each split."""

    train: Maybe[Name] = UNSET
    validation: Maybe[Name] = UNSET
    test: Maybe[Name] = UNSET


class Augmentation(Struct, frozen=True, kw_only=True):
    """The augmentation of training: a crop after padding (in pixels) or a random resized crop, and a flip."""

    flip: bool
    pad: Maybe[Whole] = UNSET
    random_resized_crop: Maybe[Literal[True]] = UNSET

    def __post_init__(self) -> None:
        """Refuse two crops or none."""
        if (self.pad is UNSET) == (self.random_resized_crop is UNSET):
            raise ValueError("give 'pad' or 'random_resized_crop'")


class Dataset(Struct, frozen=True, kw_only=True):
    """A view of a source: classes (the source's labels, or their number), splits, and texts for zero-shot heads.

    `template` is filled with `names`, or with the names that come with the data, of which `drop` is left out.
    """

    title: str
    source: Name
    classes: Annotated[list[Whole], Meta(min_length=2)] | Annotated[int, Meta(ge=2)]
    splits: Splits
    groups: Maybe[Groups] = UNSET
    split_seed: Maybe[Whole] = UNSET
    subset: Maybe[bool] = UNSET
    augmentation: Maybe[Augmentation] = UNSET
    names: Maybe[Texts] = UNSET
    template: Maybe[str] = UNSET
    drop: Maybe[str] = UNSET
    corruption: Maybe[Name] = UNSET


class Datasets(Struct, frozen=True, kw_only=True):
    """The catalogue of data."""

    sources: dict[Name, Source]
    datasets: dict[Name, Dataset]
    files: Maybe[dict[Name, File]] = UNSET
