"""Bytes that steps leave on the disk, by hand."""

import pytest

from robustft.cost.disk import LEDGER_BYTES, RECORD_BYTES, ROW_BYTES, image_bytes, images, left_bytes
from robustft.plan.step import Step

DIGITS = {"shape": [1, 8, 8]}
VIEWS = {"low": {"splits": {"train": 24, "test": 20}}, "high": {"splits": {"train": 24, "validation": 10, "test": 20}}}


def step(kind: str, **spec) -> Step:
    return Step(kind, "id", spec, {}, {})


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ({"images": 9}, 9),
        ({"corrupted_from": {"images": 4}, "corruptions": ["fog", "snow"]}, 4 * 2 * 5),
        ({}, 24 + 10 + 20),
    ],
    ids=["stated", "each corruption at five severities", "the largest of its views"],
)
def test_the_images_of_a_source(source, count):
    decoded = step("data", source={**DIGITS, **source}, datasets=VIEWS)
    assert images(decoded) == count
    assert left_bytes(decoded, {}) == {"reports": RECORD_BYTES, "data": count * 64}


@pytest.mark.parametrize(
    ("geometry", "size"),
    [(None, 48), ({"resize": 6, "crop": 4}, 48), ({"resize": [4, 4]}, 48), ({"resize": 6}, 3 * 6 * 6 * 4 / 3)],
)
def test_a_picture_takes_its_shape_or_with_a_free_side_a_third_more_than_square(geometry, size):
    source = {"shape": [3, 4, 4], **({"geometry": geometry} if geometry else {})}
    assert image_bytes(source) == pytest.approx(size)


@pytest.mark.parametrize(
    ("made", "kind", "size"),
    [
        (step("download", file={"bytes": 5000}), "downloads", 5000),
        (step("download", file={}), "downloads", 0),
        (step("train", backbone={"name": "tiny"}), "checkpoints", 4 * 1000),
        (step("weights", backbone={"name": "tiny"}), "checkpoints", 4 * 1000),
    ],
    ids=["download", "size not published", "training", "published weights"],
)
def test_a_step_leaves_its_file_and_a_record(made, kind, size):
    assert left_bytes(made, {"tiny": {"weights": 1000}}) == {"reports": RECORD_BYTES, kind: size}


def test_a_ledger_has_a_row_for_each_image_and_attack():
    attack = step("attack", images=[5, 25], attacks=["clean", "fgsm"])
    assert left_bytes(attack, {}) == {"reports": RECORD_BYTES + LEDGER_BYTES + 20 * 2 * ROW_BYTES}
