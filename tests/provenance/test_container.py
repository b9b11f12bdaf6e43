"""The image of a process, and how it differs from the images of this checkout."""

import json
import shutil
import sys

import pytest
import yaml

from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.provenance import container
from robustft.provenance.container import expected_image, foreign_container, missing_images, observed_image, unlike

ROLES = yaml.safe_load((ROOT / "config" / "images.yaml").read_text())["images"]


def ours(of: str = "train", /, **other: object) -> dict:
    """The identity of an image built from this checkout, with some entries changed."""
    return {**expected_image(of, ROLES[of]), "revision": "abc", "built_with": "a test", "own_python": True, **other}


@pytest.fixture
def outside(monkeypatch):
    """No container around the tests, whatever they run in."""
    for name in ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_an_image_of_this_checkout_is_no_news():
    assert all(unlike(ours(role), ROLES) is None for role in ROLES)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "ran outside every image of this project"),
        ({"name": None, "container": "apptainer: python.sif"}, "foreign container.*apptainer: python.sif"),
        (ours(base="localhost/other"), r"robustft-train with another base \(localhost/other, here nvidia/cuda:"),
        (ours(lock_sha256="0" * 64), r"another lock \(0000000000000000..., here "),
        (ours(recipe_sha256="0" * 64), r"another recipe \(0000000000000000..., here "),
        (ours(role="training"), "role 'training' is not in config/images.yaml"),
        (ours("report", role="train"), "another base .* and another lock .* and another recipe"),
        (ours(own_python=False), "a Python that is not the image's own"),
        ({"name": "robustft-train", "base": "x", "lock_sha256": "y"}, "role 'None'"),
    ],
)
def test_any_other_place_is_told_in_words(image, words):
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(unlike(image, ROLES))


def test_the_hash_of_a_recipe_changes_with_each_of_its_files(tmp_path):
    shutil.copytree(ROOT / "docker", tmp_path / "docker", ignore=shutil.ignore_patterns("*.sif", ".build-*"))
    seen = {container.recipe_sha256("train", root=tmp_path)}
    for name in ("install.sh", "train/Dockerfile", "train/robustft-train.def"):
        with open(tmp_path / "docker" / name, "a") as stream:
            stream.write("# edited\n")
        seen.add(container.recipe_sha256("train", root=tmp_path))
    assert len(seen) == 4
    (tmp_path / "docker" / "install.sh").unlink()
    assert container.recipe_sha256("train", root=tmp_path) is None


def test_a_step_reads_the_identity_and_whose_python_it_is(tmp_path, monkeypatch):
    file = tmp_path / "identity.json"
    monkeypatch.setattr(container, "IDENTITY_FILE", file)
    file.write_text(json.dumps({"name": "robustft-train"}))
    assert observed_image() == {"name": "robustft-train", "own_python": False}
    monkeypatch.setattr(container, "PREFIX", sys.prefix)
    assert observed_image() == {"name": "robustft-train", "own_python": True}


def test_a_foreign_container_is_not_taken_for_the_open_air(tmp_path, outside):
    """It was: every container without our identity file was recorded as none."""
    marks = {"docker": str(tmp_path / ".dockerenv")}
    assert foreign_container(marks) is None
    (tmp_path / ".dockerenv").touch()
    assert foreign_container(marks) == "docker"
    outside.setenv("APPTAINER_CONTAINER", "/somewhere/python.sif")
    assert foreign_container(marks) == "apptainer: python.sif"
    outside.setattr(container, "IDENTITY_FILE", tmp_path / "none.json")
    assert observed_image() == {"name": None, "container": "apptainer: python.sif"}


def test_missing_image_files_are_one_message_that_says_what_to_do(tmp_path):
    error = missing_images(ROLES, folder=tmp_path)
    assert isinstance(error, RobustftError)
    for word in ("robustft-train.sif", "robustft-report.sif", "make images", str(tmp_path)):
        assert word in str(error)
    for about in ROLES.values():
        (tmp_path / about["image"]).parent.mkdir(parents=True)
        (tmp_path / about["image"]).touch()
    assert missing_images(ROLES, folder=tmp_path) is None
    assert missing_images({"train": {"image": "docker://name@sha256:0"}}, folder=tmp_path / "none") is None
