"""config/datasets.yaml: what it says must hold together before anything is downloaded."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from robustft.config.load import load_document
from robustft.data.imagefile import class_texts
from robustft.data.splits import class_labels
from robustft.errors import ConfigError
from robustft.files import ROOT
from robustft.plan.entries import prompts
from tests.data.samples import picture, tar

PATH = ROOT / "config" / "datasets.yaml"
CATALOGUE = load_document(PATH, "datasets").values
FILES, SOURCES, VIEWS = CATALOGUE["files"], CATALOGUE["sources"], CATALOGUE["datasets"]
ALL_IMAGES = {name for name, source in SOURCES.items() if "images" in source}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_resolves(name):
    source = SOURCES[name]
    module, function = source["loader"].split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert set(source.get("files", {}).values()) <= set(FILES)
    assert any(view["source"] == name for view in VIEWS.values())


def test_every_file_is_used_has_its_own_name_and_can_be_checked():
    used = {file for source in SOURCES.values() for file in source.get("files", {}).values()}
    assert used == set(FILES)
    names = [file["name"] for file in FILES.values()]
    assert len(names) == len(set(names))  # a folder of downloaded files holds them by name
    for name, file in FILES.items():
        assert "md5" in file or "sha256" in file, name
        assert ("urls" in file) != ("manual" in file), name
        assert all(url.rpartition("/")[2] == file["name"] for url in file.get("urls", [])), name


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_fits_its_source(name):
    view = VIEWS[name]
    source = SOURCES[view["source"]]
    size = sum(view["splits"].values())
    assert size <= source.get("images", size)
    assert set(view.get("groups", view["splits"])) == set(view["splits"])
    if "corruption" in view:
        assert view["corruption"] in source["corruptions"]
        assert size * len(source["corruptions"]) == source.get("images", size * len(source["corruptions"]))
    elif "images" in source and "groups" not in view:
        assert size == source["images"]  # no group, so all images


@pytest.mark.parametrize("name", sorted(ALL_IMAGES))
def test_views_that_use_all_groups_of_a_source_use_all_its_images(name):
    """Each group has one size, whichever view deals it: the sizes of the groups of a source add up to its images."""
    sizes: dict[str, set[int]] = {}
    for view in VIEWS.values():
        if view["source"] == name and "groups" in view and not view.get("subset", False):
            of_view: dict[str, int] = {}
            for split, group in view["groups"].items():
                of_view[group] = of_view.get(group, 0) + view["splits"][split]
            for group, size in of_view.items():
                sizes.setdefault(group, set()).add(size)
    assert all(len(group) == 1 for group in sizes.values()), sizes
    total = sum(size for group in sizes.values() for size in group)
    parts_unused = {"dtd_224": 2 * 1880}  # its training and validation parts, which no view of it takes
    assert not sizes or total + parts_unused.get(name, 0) == SOURCES[name]["images"]


@pytest.mark.parametrize("name", [name for name, view in VIEWS.items() if "template" in view])
def test_prompts_have_one_place_for_a_name_or_are_whole_sentences(name):
    view = VIEWS[name]
    assert view["template"].count("{}") == 1
    assert view["template"].count("{") == 1
    if view["template"] == "{}":
        assert all(text.endswith(".") for text in view["names"])


@pytest.mark.parametrize("name", [name for name, view in VIEWS.items() if "names" in view])
def test_every_class_has_a_name(name):
    view = VIEWS[name]
    assert len(view["names"]) == len(class_labels(view))
    assert len(set(view["names"])) == len(view["names"])
    assert all(isinstance(text, str) and text == text.strip() for text in view["names"])


@pytest.mark.parametrize(
    ("view", "texts"),
    [
        # PMG-AFT's code drops "-256" from 052.crab-101, TeCoA's drops "-101".
        ("caltech256_zero_shot", ["A photo of a ak47.", "A photo of a american flag.", "A photo of a crab 101."]),
        ("caltech256_clean_names", ["A photo of a ak47.", "A photo of a american flag.", "A photo of a crab."]),
    ],
)
def test_rows_of_pmg_aft_see_its_crab_101_and_not_a_crab(view, texts, tmp_path):
    """30 of 257 prompts were TeCoA's, while the catalogue said that they were PMG-AFT's."""
    folders = ("001.ak47", "002.american-flag", "052.crab-101")
    files = {f"256_ObjectCategories/{folder}/{folder[:3]}_0001.jpg": picture(1) for folder in folders}
    source = SOURCES[VIEWS[view]["source"]]
    module, function = source["loader"].split(":")
    content = getattr(importlib.import_module(module), function)(
        {"parameters": source["parameters"]}, {"archive": tar(tmp_path / "x", files, mode="w")}
    )
    assert class_texts(prompts(VIEWS[view]), SimpleNamespace(names=content.names)) == texts


def test_flowers_are_named_in_the_order_of_torchvisions_labels():
    from torchvision.datasets import Flowers102

    def plain(name: str) -> str:
        return re.sub("[^a-z]", "", name.lower())

    ours = [plain(name) for name in VIEWS["flowers102"]["names"]]
    theirs = [plain(name) for name in Flowers102.classes]
    # The papers' list differs in these alone.
    assert [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b] == []


def test_hashes_agree_with_torchvisions():
    """Where torchvision has the file, its MD5 is the one on record."""
    from torchvision.datasets import (
        DTD,
        PCAM,
        STL10,
        SUN397,
        Country211,
        Flowers102,
        Food101,
        Imagenette,
        OxfordIIITPet,
    )
    from torchvision.datasets.imagenet import ARCHIVE_META

    ours = {file["name"]: file.get("md5") for file in FILES.values()}
    theirs = {
        "dtd-r1.0.1.tar.gz": DTD._MD5,
        "stl10_binary.tar.gz": STL10.tgz_md5,
        "SUN397.tar.gz": SUN397._DATASET_MD5,
        "country211.tgz": Country211._MD5,
        "food-101.tar.gz": Food101._MD5,
        "imagenette2.tgz": Imagenette._ARCHIVES["full"][1],
        **{f"{name}.gz": md5 for name, _, md5 in PCAM._FILES["test"].values()},
        **dict(Flowers102._file_dict.values()),
        **dict(ARCHIVE_META.values()),
        **{Path(url).name: md5 for url, md5 in OxfordIIITPet._RESOURCES},
    }
    assert {name: ours[name] for name in theirs} == theirs


LOW = ("datasets", "low")
FOGGY = {"dataset": "low", "split": "test"}


@pytest.mark.parametrize(
    ("keys", "change", "message"),
    [
        (("sources", "digits"), {"geometry": {"crop": 224}}, "geometry: the key 'resize' is missing"),
        (("sources", "digits"), {"package_file": None}, "digits: give 'package_file' .* or 'files' with 'images'"),
        (("sources", "digits"), {"package_file": None, "corrupted_from": FOGGY | {"split": "train"}}, "'train' is not"),
        (LOW, {"augmentation": {"pad": None}}, "augmentation: give 'pad' or 'random_resized_crop'"),
        (LOW, {"augmentation": {"random_resized_crop": True}}, "augmentation: give 'pad' or 'random_resized_crop'"),
        (LOW, {"groups": {"tests": "test"}}, "unknown key 'tests'.*'test'"),
        (LOW, {"splits": {"test": None}}, "splits: the key 'test' is missing"),
        (LOW, {"classes": [0]}, "classes"),
        (LOW, {"classes": 1}, "classes"),
    ],
)
def test_what_has_no_origin_two_crops_or_unknown_groups_is_refused(keys, change, message, document):
    part, name = keys
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        document("datasets", {part: {name: change}})


@pytest.mark.parametrize("origin", [{"files": {"images": "archive"}, "images": 9}, {"corrupted_from": FOGGY}])
def test_a_source_comes_from_files_or_from_another_data_set(origin, document):
    assert document("datasets", {"sources": {"digits": {"package_file": None, **origin}}})


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if "geometry" in source])
def test_a_geometry_gives_the_shape_that_a_model_sees(name):
    geometry, (_, height, width) = SOURCES[name]["geometry"], SOURCES[name]["shape"]
    resize = geometry["resize"]
    if "crop" in geometry:
        assert geometry["crop"] == height == width <= resize
    elif isinstance(resize, int):
        assert max(height, width) <= resize  # stored whole, cropped when it is read
    else:
        assert resize == [height, width]


def test_only_views_of_whole_pictures_draw_random_crops():
    for name, view in VIEWS.items():
        geometry = SOURCES[view["source"]].get("geometry", {})
        whole = isinstance(geometry.get("resize"), int) and "crop" not in geometry
        assert view.get("augmentation", {}).get("random_resized_crop", False) == (whole and "augmentation" in view), (
            name
        )
        assert ("train" in view["splits"]) == ("augmentation" in view), name
