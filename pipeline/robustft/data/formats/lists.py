"""Pictures whose classes and parts are listed in text files of the archive.

Every loader raises IntegrityError if an archive is damaged, lacks a listed file, or a list is inconsistent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustft.data.decoded import Decoded
from robustft.data.formats.dataset_index import Classes, DatasetIndex, FlatArchive, pictures, wording
from robustft.errors import IntegrityError


def dtd(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the Describable Textures: groups train, validation and test of partition `parameters.partition`.

    Cimpoi et al. Describing Textures in the Wild. CVPR 2014.
    """
    archive, partition = FlatArchive(files["archive"]), source["parameters"]["partition"]
    lists = archive.rows(*(f"dtd/labels/{part}{partition}.txt" for part in ("train", "val", "test")))
    label = Classes(sorted({line.split("/")[0] for part in lists for line in part}), where=archive.path)
    groups = {
        group: [f"dtd/images/{line}" for line in part]
        for group, part in zip(("train", "validation", "test"), lists, strict=True)
    }
    labels = {name: label[name.split("/")[2]] for part in groups.values() for name in part}
    return pictures(archive, DatasetIndex(labels, [wording(name) for name in label], groups), source)


def food101(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the test pictures of Food-101: Bossard, Guillaumin, Van Gool. Food-101. ECCV 2014."""
    archive = FlatArchive(files["archive"])
    classes, test = archive.rows("food-101/meta/classes.txt", "food-101/meta/test.txt")
    label = Classes(sorted(classes), where=archive.path)
    labels = {f"food-101/images/{line}.jpg": label[line.split("/")[0]] for line in test}
    return pictures(archive, DatasetIndex(labels, [wording(name) for name in label], {"test": labels}), source)


def sun397(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return all pictures of SUN397: Xiao et al. SUN Database. CVPR 2010.

    Labels are line numbers of `ClassName.txt`, such as `/a/apse/indoor`; names omit the letter: "apse indoor".
    """
    archive = FlatArchive(files["archive"])
    (lines,) = archive.rows("SUN397/ClassName.txt")
    label = Classes(lines, where=archive.path)
    labels = {
        name: label[name.removeprefix("SUN397").rpartition("/")[0]]
        for name in archive.names
        if name.rpartition("/")[2].startswith("sun_") and name.endswith(".jpg")
    }
    return pictures(archive, DatasetIndex(labels, [wording(line[3:]) for line in lines]), source)


def fgvc_aircraft(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the test pictures of FGVC-Aircraft by variant: Maji et al., arXiv 1306.5151.

    "Boeing" is put before names that begin with 7, and hyphens stay, as in the code of TeCoA and PMG-AFT.
    """
    archive, root = FlatArchive(files["archive"]), "fgvc-aircraft-2013b/data"
    (variants,) = archive.rows(f"{root}/variants.txt")
    label = Classes(variants, where=archive.path)
    test = archive.table(f"{root}/images_variant_test.txt", str, str)
    labels = {f"{root}/images/{number}.jpg": label[variant] for number, variant in test}
    names = [wording(f"Boeing {name}" if name.startswith("7") else name, blanks="_") for name in variants]
    return pictures(archive, DatasetIndex(labels, names, {"test": labels}), source)


def oxford_pets(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the test pictures of Oxford-IIIT Pet by breed: Parkhi et al. Cats and Dogs. CVPR 2012.

    Roles `images` and `annotations`. A line of `test.txt` is `Abyssinian_201 1 1 1`: picture, breed from 1, and two
    unused numbers.
    """
    table = FlatArchive(files["annotations"]).table("annotations/test.txt", str, int, str)
    labels = {f"images/{name}.jpg": number - 1 for name, number, _ in table}
    breeds = {number - 1: name.rpartition("_")[0] for name, number, _ in table}
    if sorted(breeds) != list(range(len(breeds))):
        raise IntegrityError(
            "the breeds are not numbered without gaps", where=files["annotations"], observed=sorted(breeds)
        )
    names = [wording(breeds[number]) for number in range(len(breeds))]
    return pictures(FlatArchive(files["images"]), DatasetIndex(labels, names, {"test": labels}), source)


def cub200(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return Caltech-UCSD Birds-200-2011 with the publisher's groups train and test: Wah et al. 2011.

    A line of each list begins with the picture's number; classes count from 1; `1` in the split means training.
    """
    archive, root = FlatArchive(files["archive"]), "CUB_200_2011"
    kinds = {"images": str, "image_class_labels": int, "train_test_split": str, "classes": str}
    lists = (dict(archive.table(f"{root}/{name}.txt", str, kind)) for name, kind in kinds.items())
    image, label, training, classes = lists
    if not image.keys() == label.keys() == training.keys():
        expected = ", ".join(list(kinds)[:3])
        raise IntegrityError("the lists do not number the same pictures", where=archive.path, expected=expected)
    labels = {f"{root}/images/{name}": label[number] - 1 for number, name in image.items()}
    groups = {
        group: [f"{root}/images/{name}" for number, name in image.items() if training[number] == flag]
        for group, flag in (("train", "1"), ("test", "0"))
    }
    names = [wording(name.partition(".")[2]) for name in classes.values()]
    return pictures(archive, DatasetIndex(labels, names, groups), source)
