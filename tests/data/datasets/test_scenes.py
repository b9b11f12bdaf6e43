"""The demo's image-text world: what labels say, what styles do, and that no handwriting crosses between parts."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from robustft.data.datasets import digits, scenes
from robustft.data.datasets.scenes import ANY, ONE, STYLES, WHITE, WORDS, caption, compose, label, load, shares
from robustft.data.splits import split_indices
from robustft.errors import IntegrityError
from robustft.files import ROOT

CATALOGUE = yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text(encoding="utf-8"))
SOURCE = CATALOGUE["sources"]["scenes"]
VIEWS = {name: view for name, view in CATALOGUE["datasets"].items() if view["source"] == "scenes"}
SEEN = ("scenes_captions", "scenes_tuning")
ZERO_SHOT = sorted(set(VIEWS) - set(SEEN))


@pytest.fixture(scope="module")
def source_digits():
    content = digits.load({**SOURCE, "shape": [8, 8]}, {})
    images, labels = content.images, content.labels
    return images, labels


@pytest.fixture(scope="module")
def composed(source_digits):
    return compose(*source_digits, SOURCE["parameters"])


def test_a_label_says_part_style_and_content():
    assert label(0, "plain", 37) == 37
    assert label(2, "thick", ONE + 4) == 201104
    assert caption(37) == "plain three and seven"
    assert caption(201104) == "thick four"
    assert caption(label(1, "framed noisy", ANY)) == "framed noisy digit"
    assert caption(label(2, "hollow", 5)) == "hollow zero and five"


def test_every_style_is_made_of_words():
    assert {word for style in STYLES for word in style.split()} == set(WORDS)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", [[0, 60, 0], [0, 240, 0]]),
        ("thick", [[0, 60, 60], [0, 240, 240]]),
        ("hollow", [[60, 180, 60], [240, 0, 240]]),
        ("inverted", [[240, 180, 240], [240, 0, 240]]),
        ("faint", [[60, 90, 60], [60, 180, 60]]),
        ("framed", [[240, 240, 240], [240, 240, 240]]),
        ("striped", [[120, 120, 120], [0, 240, 0]]),
    ],
)
def test_styles_by_hand(word, expected):
    x = np.array([[[0, 60, 0], [0, 240, 0]]])
    drawn = WORDS[word](x, np.random.default_rng(0))
    assert drawn[0].tolist() == expected
    assert x[0].tolist() == [[0, 60, 0], [0, 240, 0]]  # drawn on a new canvas


def test_noise_stays_in_the_range_and_comes_from_its_stream():
    x = np.full((3, 10, 20), 120)
    x[0], x[2] = 0, WHITE
    one, other = (WORDS["noisy"](x, np.random.default_rng(seed)) for seed in (1, 1))
    assert np.array_equal(one, other)
    assert one.min() == 0
    assert one.max() == WHITE
    assert abs(one[1] - 120).max() <= 70


def test_digits_are_placed_side_by_side_or_in_the_middle(composed, source_digits):
    images, _ = source_digits
    for name, columns in ((label(0, "plain", 37), (1, 11)), (label(0, "plain", ONE + 3), (6,))):
        first = int(np.flatnonzero(composed.labels == name)[0])
        scene = composed.images[first, 0]
        for which, column in enumerate(columns):
            assert np.array_equal(scene[1:9, column : column + 8], images[composed.places[first, which]] * 15)
        assert scene.sum() == sum(15 * int(images[place].sum()) for place in composed.places[first, : len(columns)])


def test_scenes_show_what_their_labels_say(composed, source_digits):
    _, which = source_digits
    shown, content = which[composed.places], composed.labels % 1000
    two, one, any_digit = content < ONE, (content >= ONE) & (content < ANY), content == ANY
    assert min(two.sum(), one.sum(), any_digit.sum()) > 0
    assert np.array_equal(shown[two], np.stack([content[two] // 10, content[two] % 10], axis=1))
    assert np.array_equal(shown[one], np.repeat(content[one, None] - ONE, 2, axis=1))
    assert set(shown[any_digit, 0]) == set(range(10))


def test_no_handwriting_of_one_part_is_in_another(composed):
    by_part = [set(composed.places[composed.labels // 100_000 == part].ravel()) for part in range(3)]
    assert all(by_part)
    assert not by_part[0] & by_part[1]
    assert not by_part[0] & by_part[2]
    assert not by_part[1] & by_part[2]


@pytest.mark.parametrize("name", ZERO_SHOT)
def test_no_zero_shot_image_comes_from_a_digit_that_training_saw(name, composed):
    def places(view, splits):
        parts = split_indices(composed.labels, classes=view["classes"], sizes=view["splits"], seed=view["split_seed"])
        return {int(place) for split in splits for place in composed.places[parts[split]].ravel()}

    seen = set().union(*(places(VIEWS[other], ("train", "validation")) for other in SEEN))
    ours = places(VIEWS[name], ("test",))
    assert ours
    assert not ours & seen


@pytest.mark.parametrize("name", sorted(VIEWS))
def test_the_catalogue_names_its_classes_as_their_labels_say(name):
    view = VIEWS[name]
    assert view["names"] == [caption(number) for number in view["classes"]]
    assert len(set(view["names"])) == len(view["names"]) >= 4  # AutoAttack's targeted attacks need four classes
    assert {number // 100_000 for number in view["classes"]} == {(*SEEN, name).index(name)}


def test_what_is_called_new_was_in_no_caption_of_training():
    seen = {name for other in SEEN for name in VIEWS[other]["names"]}
    for name in ("unseen_digits", "pairs", "thick_pairs", "framed_noisy", "striped_faint"):
        assert not seen & set(VIEWS[f"scenes_{name}"]["names"]), name


def test_shares_are_dealt_within_each_digit_and_leave_nothing_out():
    labels = np.repeat(np.arange(10), 20)
    parts = shares(labels, [0.6, 0.15, 0.25], seed=0)
    assert [len(part[3]) for part in parts] == [12, 3, 5]
    assert all((labels[part[digit]] == digit).all() for part in parts for digit in range(10))
    assert sorted(place for part in parts for members in part for place in members) == list(range(200))


def test_a_caption_more_changes_no_other_scene(source_digits):
    few = {"seed": 0, "parts": [{"share": 1.0, "each": 2, "one": ["noisy"]}]}
    more = {"seed": 0, "parts": [{"share": 1.0, "each": 2, "one": ["plain", "noisy"], "any": ["thick"]}]}
    one, other = compose(*source_digits, few), compose(*source_digits, more)
    kept = np.isin(other.labels, one.labels)
    assert np.array_equal(other.images[kept], one.images)
    assert not np.array_equal(compose(*source_digits, {**few, "seed": 1}).images, one.images)


def test_load_gives_images_of_the_declared_shape_and_levels(composed):
    content = load(SOURCE, {})
    images, labels, observed = content.images, content.labels, content.sha256
    assert images.shape == (len(labels), *SOURCE["shape"])
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    assert images.max() == SOURCE["levels"] == WHITE
    assert observed == SOURCE["sha256"]
    assert np.array_equal(images, composed.images)


def test_the_digits_are_checked_before_they_are_used():
    with pytest.raises(IntegrityError, match="not the one on record"):
        scenes.load({**SOURCE, "sha256": "0" * 64}, {})
