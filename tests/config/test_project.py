from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from robustft.config.project import layers_of, project_defaults, read_project
from robustft.errors import ConfigError

DATA = "data: {shapes: {folder: pictures, splits: {validation: 0.2, test: 0.3}}}\n"


@pytest.fixture
def folder(tmp_path):
    for name, count in (("circle", 10), ("square", 20)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.fromarray(np.full((6, 8, 3), number, dtype=np.uint8))
            picture.save(tmp_path / "pictures" / name / f"{number}.png")
    (tmp_path / "robustft.yaml").write_text(DATA)
    return tmp_path


def layers(folder):
    return layers_of(folder, read_project(folder / "robustft.yaml"))


def test_a_folder_of_pictures_is_a_data_set(folder):
    entries = layers(folder)["datasets"]
    assert entries["sources"]["shapes"]["shape"] == [3, 6, 8]
    assert entries["datasets"]["shapes"]["splits"] == {"train": 15, "validation": 6, "test": 9}


def test_where_the_pictures_are_not_the_lock_is_enough_to_plan(folder):
    there = layers(folder)
    shutil.rmtree(folder / "pictures")
    assert layers(folder) == there


def test_a_changed_picture_is_another_identity(folder):
    before = layers(folder)["datasets"]["sources"]["shapes"]["sha256"]
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(folder / "pictures" / "circle" / "9.png")
    assert layers(folder)["datasets"]["sources"]["shapes"]["sha256"] != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("date: {}\n", "did you mean 'data'"),
        (DATA.replace("0.3", "3"), "between 0 and 1"),
        (DATA.replace("pictures", "picture"), "no such folder"),
        (DATA.replace(", test: 0.3", ""), "the split 'test'"),
        (DATA.replace("0.3", "0.95"), "too few pictures"),
        ("tracking: wandb\n", "tensorboard"),
    ],
)
def test_a_fault_is_named(folder, text, message):
    (folder / "robustft.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        layers(folder)


def test_the_command_line_comes_before_the_project(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert project_defaults() == {"scale": "own"}
    assert project_defaults(given=["scale"]) == {}


def test_an_empty_file_is_a_project(tmp_path):
    (tmp_path / "robustft.yaml").write_text("")
    assert read_project(tmp_path / "robustft.yaml")["data"] == {}
