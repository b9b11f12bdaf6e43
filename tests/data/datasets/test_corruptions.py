from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import yaml

from robustft.data.datasets import corruptions
from robustft.data.datasets.corruptions import COMMON, EXTRA, SEVERITIES, corrupt, load
from robustft.data.imagefile import load_split, save
from robustft.errors import ConfigError, RobustftError
from robustft.files import ROOT, sha256_file

GREY = np.random.default_rng(0).integers(0, 256, (1, 8, 8)).astype(np.uint8)
STROKE = np.zeros((1, 8, 8), np.uint8)
STROKE[0, 1:7, 3:5] = 200


@pytest.fixture
def clean(tmp_path):
    """Eight grey images of levels 0 to 16 with labels 5, 6, 7; the test split holds images 6, 2, 4 and 1."""
    path = tmp_path / "clean.safetensors"
    draws = np.random.default_rng(1)
    save(
        path,
        images=draws.integers(0, 17, (8, 1, 8, 8)).astype(np.uint8),
        labels=np.array([5, 6, 7, 5, 6, 7, 5, 6]),
        splits={"few/test": np.array([6, 2, 4, 1])},
        about={"levels": 16, "datasets": {"few": {"classes": [5, 6, 7]}}},
    )
    return path


def source(*types, images=3, seed=0):
    origin = {"dataset": "few", "split": "test", "images": images}
    return {"corrupted_from": origin, "corruptions": list(types), "draw_seed": seed}


def test_without_a_corruption_an_image_comes_back_exactly(monkeypatch):
    class Nothing:
        @staticmethod
        def corrupt(image, severity, corruption_name):
            assert image.shape == (32, 32, 1)  # 8 pixels, each four times
            return np.repeat(image, 3, axis=2)

    monkeypatch.setattr(corruptions, "_package", lambda: Nothing)
    assert np.array_equal(corrupt(GREY, "nothing", 1, seed=0), GREY)


def test_the_packages_types_are_the_fifteen_of_the_benchmark_and_four_more():
    package = importlib.import_module("imagecorruptions")
    assert tuple(package.get_corruption_names()) == COMMON
    assert tuple(package.get_corruption_names("validation")) == EXTRA


@pytest.mark.parametrize("kind", [*COMMON, *EXTRA])
def test_each_type_is_a_function_of_its_seed_alone(kind):
    # Two of the package's types draw from generators of their own, whatever numpy's global seed is.
    before = np.random.get_state()[1].copy()
    one, same, other = (corrupt(STROKE, kind, 3, seed=seed) for seed in (4, 4, 5))
    assert one.shape == STROKE.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert np.array_equal(np.random.get_state()[1], before)  # nobody else's draws are disturbed
    drawn = "noise" in kind or kind in ("snow", "fog", "frost", "glass_blur", "motion_blur", "spatter")
    assert drawn is not np.array_equal(one, other) or kind == "elastic_transform"


@pytest.mark.parametrize("kind", [kind for kind in COMMON if kind != "pixelate"])  # squares may lie along a stroke
def test_the_strongest_severity_changes_more_than_the_weakest(kind):
    weak, strong = (
        np.mean([np.abs(corrupt(STROKE, kind, s, seed=i).astype(int) - STROKE).mean() for i in range(8)])
        for s in (1, 5)
    )
    assert weak < strong  # a zoom by a few per cent moves the middle of no block


def test_noise_keeps_its_strength_at_the_size_of_the_image():
    # Severity 5 of Gaussian noise has standard deviation 0.38; a mean over the sixteen pixels of a block would leave
    # a quarter. Around 0.5, cut to [0, 1] at 1.32 standard deviations, E|n| = 0.38 * 0.67 = 0.26 remains.
    grey = np.full((1, 8, 8), 128, np.uint8)
    result = np.stack([corrupt(grey, "gaussian_noise", 5, seed=seed) for seed in range(30)]) / 255
    assert np.abs(result - 128 / 255).mean() == pytest.approx(0.26, abs=0.03)


def test_contrast_by_hand():
    # Severity 1 keeps 0.4 of the distance to the mean: of levels 0 and 200 in equal parts, 100 -+ 40.
    half = np.zeros((1, 8, 8), np.uint8)
    half[:, :, 4:] = 200
    result = corrupt(half, "contrast", 1, seed=0)
    assert set(np.unique(result).tolist()) <= {59, 60, 139, 140}  # the package cuts to whole levels


def test_a_coloured_image_keeps_its_channels():
    image = np.zeros((3, 32, 32), np.uint8)
    image[0] = 200
    result = corrupt(image, "brightness", 1, seed=0)
    assert result.shape == (3, 32, 32)
    # Value 200/255 + 0.1 at the same hue and saturation: 225.5 of red alone.
    assert result[:, 0, 0].tolist() == [225, 0, 0]


def parts(result):
    return np.stack(list(result.images)), result.labels, result.sha256


def test_a_set_is_blocks_of_types_and_in_them_severities_and_in_them_images(clean):
    images, labels, sha256 = parts(load(source("contrast", "brightness"), {"clean": clean}))
    split = load_split(clean, dataset="few", split="test")
    assert images.shape == (2 * 5 * 3, 1, 8, 8)
    assert labels.tolist() == [5, 7, 6] * 10  # of images 6, 2 and 4, as the source counts labels
    assert sha256 == sha256_file(clean)
    for t, kind in enumerate(("contrast", "brightness")):
        for s in SEVERITIES:
            for i in range(3):
                alone = corrupt(np.rint(split.images[i] * (255 / 16)).astype(np.uint8), kind, s, seed=0)
                assert np.array_equal(images[t * 15 + (s - 1) * 3 + i], alone), (kind, s, i)


def test_an_images_corruption_depends_on_seed_type_severity_and_image_only(clean):
    many, _, _ = parts(load(source("shot_noise", "gaussian_noise", images=4), {"clean": clean}))
    few, _, _ = parts(load(source("gaussian_noise", images=2), {"clean": clean}))
    for s in range(5):
        assert np.array_equal(many[20 + s * 4 : 20 + s * 4 + 2], few[s * 2 : s * 2 + 2])
    other, _, _ = parts(load(source("gaussian_noise", images=2, seed=1), {"clean": clean}))
    assert not np.array_equal(other, few)
    assert len({result.tobytes() for result in few}) == len(few)


def test_more_images_than_the_split_has_are_refused(clean):
    with pytest.raises(ConfigError, match="too few images to corrupt") as error:
        load(source("contrast", images=5), {"clean": clean})
    assert "at most 4" in str(error.value)


def test_without_the_package_the_error_says_what_to_install(clean, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecorruptions", None)
    with pytest.raises(RobustftError, match="cannot be imported") as error:
        load(source("contrast"), {"clean": clean})
    assert "make install" in str(error.value)


def test_every_configured_corrupted_source_has_a_view_of_each_of_its_types():
    catalogue = yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text(encoding="utf-8"))
    corrupted = {name: entry for name, entry in catalogue["sources"].items() if "corrupted_from" in entry}
    assert corrupted
    for name, entry in corrupted.items():
        assert set(entry["corruptions"]) <= {*COMMON, *EXTRA}
        views = [view for view in catalogue["datasets"].values() if view["source"] == name]
        assert [view["corruption"] for view in views] == entry["corruptions"]
        origin = catalogue["datasets"][entry["corrupted_from"]["dataset"]]
        for view in views:
            assert view["classes"] == origin["classes"]
            assert view["splits"] == {"test": 5 * entry["corrupted_from"]["images"]}
