import hashlib

import numpy as np
import pytest
from PIL import Image

from robustft.data.own.folder import read_folder
from robustft.errors import IntegrityError, RobustftError


def picture(path, *, size=(6, 4), color=(255, 0, 51)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)
    return path


@pytest.fixture
def pets(tmp_path):
    for name in ("dogs/b.png", "dogs/deep/a.PNG", "cats/ünï cöde.png", "cats/.hidden.png"):
        picture(tmp_path / name)
    (tmp_path / "cats" / "notes.txt").write_text("no picture")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_classes_are_sorted_folders_and_each_file_is_hashed(pets):
    found = read_folder(pets)
    assert found.classes == ["cats", "dogs"]
    assert found.labels.tolist() == [0, 1, 1]
    assert list(found.files) == ["cats/ünï cöde.png", "dogs/b.png", "dogs/deep/a.PNG"]
    assert found.files["dogs/b.png"] == hashlib.sha256((pets / "dogs/b.png").read_bytes()).hexdigest()


def test_a_picture_is_decoded_when_it_is_asked_for(pets):
    found = read_folder(pets)
    assert found.size_of(0) == (4, 6)
    assert found.read(0).shape == (3, 4, 6)
    assert found.read(0)[:, 0, 0].tolist() == [255, 0, 51]
    assert found.read(0, side=14).shape == (3, 14, 14)


def test_folders_that_are_splits_become_groups(tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/2.png"):
        picture(tmp_path / name)
    found = read_folder(tmp_path)
    assert found.classes == ["a", "b"]
    assert {name: part.tolist() for name, part in found.groups.items()} == {"train": [0, 1], "validation": [2, 3]}
    picture(tmp_path / "val/c/1.png")
    with pytest.raises(RobustftError, match="classes of 'validation' differ"):
        read_folder(tmp_path)


def test_an_empty_class_and_loose_pictures_are_refused(pets, tmp_path_factory):
    (pets / "birds").mkdir()
    with pytest.raises(RobustftError, match=r"holds no picture(?s:.)*birds"):
        read_folder(pets)
    loose = picture(tmp_path_factory.mktemp("loose") / "1.png").parent
    with pytest.raises(RobustftError, match="no folder for each class"):
        read_folder(loose)


def test_a_damaged_picture_is_named(pets):
    (pets / "cats" / "ünï cöde.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    found = read_folder(pets)
    for look in (found.size_of, found.read):
        with pytest.raises(IntegrityError, match=r"ünï cöde\.png"):
            look(0)
    assert np.all(found.read(1) == found.read(2))
