import numpy as np
import pytest
from PIL import Image

from robustft.data.own.place import read_place, stratified_order, stratified_splits
from robustft.errors import ConfigError, RobustftError

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_every_prefix_of_the_order_holds_the_classes_in_their_proportions():
    order = stratified_order(LABELS)
    assert sorted(order) == list(range(100))
    for n in (10, 20, 50, 90):
        assert np.abs(np.bincount(LABELS[order[:n]], minlength=3) - n * np.array([0.6, 0.3, 0.1])).max() <= 1


def test_each_split_has_its_share_of_every_class_and_none_shares_an_image():
    splits = stratified_splits(LABELS, {"validation": 0.2, "test": 0.3})
    counts = {name: np.bincount(LABELS[part], minlength=3).tolist() for name, part in splits.items()}
    assert counts == {"validation": [12, 6, 2], "test": [18, 9, 3], "train": [30, 15, 5]}
    assert sorted(np.concatenate(list(splits.values()))) == list(range(100))


def test_one_more_class_moves_no_image_of_another():
    some, more = stratified_order(LABELS[:90]), stratified_order(LABELS)
    assert list(some) == [one for one in more if LABELS[one] < 2]


@pytest.mark.parametrize("shares", [{"test": 1.2}, {"test": 0}, {"train": 0.5}])
def test_shares_that_do_not_fit_are_refused(shares):
    with pytest.raises(ConfigError, match="shares"):
        stratified_splits(LABELS, shares)


def test_a_class_that_is_too_small_for_a_split_is_named():
    with pytest.raises(ConfigError, match="class 1 has no image for the split 'test'"):
        stratified_splits(np.array([0] * 50 + [1]), {"test": 0.1})


def test_one_class_and_no_place_are_refused(tmp_path):
    (tmp_path / "cats").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "cats" / "1.png")
    with pytest.raises(RobustftError, match="at least two classes"):
        read_place(tmp_path)
    with pytest.raises(RobustftError, match="no such images"):
        read_place(tmp_path / "nowhere")
    with pytest.raises(RobustftError, match="no images that can be read"):
        read_place(tmp_path / "cats" / "1.png")
