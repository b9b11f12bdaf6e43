from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from robustft.data.datasets.picture_folder import facts, load, sizes, stamp
from robustft.errors import IntegrityError

SHARES = {"validation": 0.2, "test": 0.3}


def save(path, grey):
    Image.fromarray(np.full((8, 8, 3), grey, dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for label, (name, count) in enumerate((("circle", 10), ("red_square", 40))):
        (tmp_path / name).mkdir()
        for number in range(count):
            save(tmp_path / name / f"{number}.png", 100 * label + number)
    return tmp_path


def source(folder, **parameters):
    about = facts(folder)
    return {
        "name": "shapes",
        "folder": str(folder),
        "sha256": about["sha256"],
        "shape": [3, *about["size"]],
        "parameters": {"splits": SHARES, "seed": 0, **parameters},
    }


def test_every_split_has_the_proportions_of_the_folder(folder):
    found = load(source(folder), {})
    counts = {split: np.bincount(found.labels[places]).tolist() for split, places in found.groups.items()}
    assert counts == {"train": [5, 20], "validation": [2, 8], "test": [3, 12]}
    assert sizes(facts(folder)["counts"], SHARES) == {"train": 25, "validation": 10, "test": 15}
    assert sorted(np.concatenate(list(found.groups.values()))) == list(range(50))  # each image once
    assert found.names == ["circle", "red square"]


def test_the_split_is_of_its_seed_alone(folder):
    one, again, other = (load(source(folder, seed=seed), {}).groups["test"].tolist() for seed in (0, 0, 1))
    assert one == again != other


def test_pictures_that_changed_after_planning_are_refused(folder):
    planned = source(folder)
    (folder / "circle" / "0.png").write_bytes((folder / "circle" / "1.png").read_bytes())
    with pytest.raises(IntegrityError, match="have changed"):
        load(planned, {})


def test_pictures_of_several_sizes_need_a_size(folder):
    Image.new("RGB", (20, 10)).save(folder / "circle" / "9.png")
    images = load(source(folder), {}).images
    with pytest.raises(IntegrityError, match="another size"):
        [image() for image in images]
    assert {image().shape for image in load(source(folder, side=8), {}).images} == {(3, 8, 8)}


def test_a_split_of_the_folder_itself_is_taken_as_it_is(tmp_path):
    for split, count in (("train", 10), ("test", 4)):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                save(tmp_path / split / name / f"{number}.png", number)
    assert sizes(facts(tmp_path)["counts"], {"validation": 0.2}) == {"train": 16, "validation": 4, "test": 8}
    assert len(load(source(tmp_path), {}).groups["test"]) == 8


def test_the_stamp_changes_with_a_file(folder):
    before = stamp(folder)
    (folder / "circle" / "new.png").write_bytes((folder / "circle" / "1.png").read_bytes())
    assert stamp(folder) != before
