from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import RandomResizedCrop

from robustft.data import batches as stored_or_held
from robustft.data.batches import AuxiliaryBatches, Batches, Images, augment, crop_boxes, in_order
from robustft.data.imagefile import Split
from robustft.errors import ConfigError

PLAIN = {"pad": 0, "flip": False}


def numbered(n: int, *, levels: int = 255, size: int = 2) -> Images:
    """Images whose every pixel is their own number, and whose label is that number too."""
    pixels = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, size, size).contiguous()
    return Images(pixels, torch.arange(n), levels)


def batches(n: int, size: int, *, seed: int = 0, augmentation: dict | None = None) -> Batches:
    return Batches(numbered(n), batch_size=size, augmentation=augmentation or PLAIN, seed=seed)


def epoch(source: Batches, number: int) -> list[int]:
    return [int(label) for position in range(source.per_epoch) for label in source.get(number, position)[1]]


@pytest.mark.parametrize("levels", [16, 255])
def test_images_are_pixels_over_the_level_of_full_white(levels):
    pixels = np.zeros((21, 1, 1, 2), dtype=np.uint8)
    pixels[[10, 20]] = [[[[0, levels]]], [[[4, 8]]]]
    split = Split(labels=np.array([1, 0]), levels=levels, indices=np.array([10, 20]), pixels=pixels, shape=(1, 1, 2))
    images = Images.of(split, torch.device("cpu"))
    x, y = images.take(slice(0, 2))
    assert len(images) == 2
    assert x.dtype == torch.float32
    assert y.dtype == torch.int64
    assert x.flatten().tolist() == pytest.approx([0.0, 1.0, 4 / levels, 8 / levels])
    x, y = images.take(torch.tensor([1]))
    assert y.tolist() == [0]
    assert x.flatten().tolist() == pytest.approx([4 / levels, 8 / levels])


def test_an_epoch_is_a_permutation_of_the_images():
    source = batches(24, 8)
    order = epoch(source, 0)
    assert sorted(order) == list(range(24))
    assert order != list(range(24))
    assert source.per_epoch == 3


def test_images_and_labels_stay_together():
    x, y = batches(24, 8).get(0, 1)
    assert (255 * x[:, 0, 0, 0]).round().int().tolist() == y.tolist()


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [epoch(batches(24, 8, seed=seed), number) for seed in (0, 1) for number in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_a_batch_does_not_depend_on_what_was_taken_before():
    augmentation = {"pad": 1, "flip": True}
    expected = batches(24, 8, augmentation=augmentation).get(3, 1)
    used = batches(24, 8, augmentation=augmentation)
    for number, position in ((0, 0), (3, 2), (2, 1), (3, 0)):
        used.get(number, position)
        torch.rand(3)  # nor on the global generator
    for one, other in zip(expected, used.get(3, 1), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("images", "size", "lengths"),
    [(8, 4, [4, 4]), (9, 4, [4, 4]), (10, 4, [4, 4, 2]), (11, 4, [4, 4, 3]), (3, 4, [3]), (2, 2, [2])],
)
def test_a_last_batch_of_one_image_is_dropped_and_no_other(images, size, lengths):
    source = batches(images, size)
    assert source.per_epoch == len(lengths)
    assert [len(source.get(0, position)[1]) for position in range(source.per_epoch)] == lengths
    seen = epoch(source, 0)
    assert len(set(seen)) == len(seen) == sum(lengths)


def test_which_image_is_dropped_changes_from_epoch_to_epoch():
    source = batches(9, 4)
    assert len({*range(9)} - {i for number in range(6) for i in epoch(source, number)}) == 0


# The image ((1, 2), (3, 4)), padded by one zero all round, cropped back at each of the nine places.
CROPS = {
    (0, 0): [[0, 0], [0, 1]],
    (0, 1): [[0, 0], [1, 2]],
    (0, 2): [[0, 0], [2, 0]],
    (1, 0): [[0, 1], [0, 3]],
    (1, 1): [[1, 2], [3, 4]],
    (1, 2): [[2, 0], [4, 0]],
    (2, 0): [[0, 3], [0, 0]],
    (2, 1): [[3, 4], [0, 0]],
    (2, 2): [[4, 0], [0, 0]],
}


def test_a_crop_by_hand_for_the_offset_that_was_drawn():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    for seed in range(20):
        rows, columns = torch.randint(0, 3, (2, 1), generator=torch.Generator().manual_seed(seed)).flatten().tolist()
        result = augment(x, pad=1, flip=False, draws=torch.Generator().manual_seed(seed))
        assert result[0, 0].tolist() == CROPS[rows, columns], seed


def test_all_places_are_drawn_about_equally_often_for_each_image_by_itself():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1800, 1, 2, 2)
    result = augment(x, pad=1, flip=False, draws=torch.Generator().manual_seed(0))
    counts = [sum(image[0].tolist() == crop for image in result) for crop in CROPS.values()]
    assert sum(counts) == 1800
    # 200 expected of each; one count has standard deviation sqrt(1800 * 1/9 * 8/9) = 13.3; margin five of them.
    assert all(abs(count - 200) < 67 for count in counts)


def test_channels_of_an_image_move_together():
    x = torch.rand(6, 3, 5, 4)
    result = augment(x, pad=2, flip=True, draws=torch.Generator().manual_seed(3))
    alone = augment(x[:, :1], pad=2, flip=True, draws=torch.Generator().manual_seed(3))
    assert result.shape == x.shape
    assert torch.equal(result[:, :1], alone)
    swapped = augment(x.flip(1), pad=2, flip=True, draws=torch.Generator().manual_seed(3))
    assert torch.equal(swapped, result.flip(1))


def test_a_large_crop_is_a_window_of_the_padded_image():
    x = torch.rand(1, 1, 8, 8)
    result = augment(x, pad=4, flip=False, draws=torch.Generator().manual_seed(1))[0, 0]
    padded = F.pad(x, (4, 4, 4, 4))[0, 0]
    windows = [padded[i : i + 8, j : j + 8] for i in range(9) for j in range(9)]
    assert sum(torch.equal(result, window) for window in windows) == 1


def test_about_half_of_the_images_are_mirrored_and_the_rest_untouched():
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(400, 1, 2, 2)
    result = augment(x, pad=0, flip=True, draws=torch.Generator().manual_seed(0))
    mirrored = sum(image[0].tolist() == [[2.0, 1.0], [4.0, 3.0]] for image in result)
    untouched = sum(image[0].tolist() == [[1.0, 2.0], [3.0, 4.0]] for image in result)
    assert mirrored + untouched == 400
    assert abs(mirrored - 200) < 50  # standard deviation sqrt(400)/2 = 10; margin five of them


def test_without_augmentation_the_images_pass_through():
    x = torch.rand(3, 1, 4, 4)
    assert torch.equal(augment(x, **PLAIN, draws=torch.Generator()), x)


def test_draws_of_augmentation_differ_from_epoch_to_epoch_and_from_batch_to_batch():
    # All images are one image, so that only the draws can differ.
    pixels = torch.randint(0, 17, (1, 1, 8, 8), dtype=torch.uint8).expand(24, 1, 8, 8).contiguous()
    images = Images(pixels, torch.zeros(24, dtype=torch.int64), 16)
    source = Batches(images, batch_size=12, augmentation={"pad": 2, "flip": True}, seed=0)
    other = Batches(images, batch_size=12, augmentation={"pad": 2, "flip": True}, seed=1)
    result = [source.get(0, 0), source.get(0, 1), source.get(1, 0), source.get(1, 1), other.get(0, 0)]
    assert len({x.numpy().tobytes() for x, _ in result}) == 5


def test_augmented_batches_are_images_and_differ_from_epoch_to_epoch():
    images = Images(torch.randint(0, 17, (12, 1, 8, 8), dtype=torch.uint8), torch.arange(12), 16)
    source = Batches(images, batch_size=12, augmentation={"pad": 2, "flip": True}, seed=0)
    seen = []
    for number in range(3):
        x, y = source.get(number, 0)
        assert x.min() >= 0
        assert x.max() <= 1
        assert x.shape == (12, 1, 8, 8)
        seen.append(x[y.argsort()])  # in the order of the images, so that only augmentation differs
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize(
    ("images", "processes", "batches"),
    [(10, 1, 3), (9, 1, 2), (10, 2, 2), (11, 2, 2), (12, 2, 3), (10, 3, 0)],
)
def test_a_rest_that_leaves_a_process_one_image_is_dropped(images, processes, batches):
    """Batches of 4: every process needs two images of every batch, for its statistics and its two wings."""
    if not batches:
        with pytest.raises(ConfigError, match="each of 3 process"):
            Batches(numbered(images), batch_size=4, augmentation=PLAIN, seed=0, processes=processes)
        return
    assert Batches(numbered(images), batch_size=4, augmentation=PLAIN, seed=0, processes=processes).per_epoch == batches


def test_images_in_order_are_as_they_are_stored():
    batches = list(in_order(numbered(5), batch_size=2))
    assert [y.tolist() for _, y in batches] == [[0, 1], [2, 3], [4]]
    x = torch.cat([x for x, _ in batches])
    assert (255 * x[:, 0, 0, 0]).round().int().tolist() == [0, 1, 2, 3, 4]


def auxiliary_batches(
    n: int = 12, *, size: int = 4, classes: list[int] | None = None, seed: int = 0, flip: bool = False
) -> AuxiliaryBatches:
    chosen = None if classes is None else torch.tensor(classes)
    augmentation = {"pad": 0, "flip": flip}
    return AuxiliaryBatches(
        numbered(n), classes=chosen, offset=100, batch_size=size, seed=seed, augmentation=augmentation
    )


def taken(source: AuxiliaryBatches, counts: list[int]) -> list[int]:
    """The numbers of the images that batches of these sizes are accompanied by."""
    return [int(label) - 100 for step, count in enumerate(counts) for label in source.get(step, count)[1]]


def test_there_are_as_many_auxiliary_images_as_asked_for_with_labels_counted_on():
    x, y = auxiliary_batches().get(3, 5)
    assert (x.shape, y.shape) == ((5, 1, 2, 2), (5,))
    assert (255 * x[:, 0, 0, 0]).round().int().tolist() == (y - 100).tolist()
    assert x.dtype == torch.float32
    assert y.min() >= 100


@pytest.mark.parametrize("size", [1, 3, 4, 12])
def test_a_pass_takes_every_auxiliary_image_once_in_an_order_of_its_own(size):
    result = taken(auxiliary_batches(size=size), [size] * (24 // size))
    assert sorted(result[:12]) == sorted(result[12:]) == list(range(12))
    assert list(range(12)) not in (result[:12], result[12:])
    assert result[:12] != result[12:]


def test_a_batch_across_two_passes_ends_the_one_and_begins_the_other():
    # Batches of 5 from 12: the third takes the last two of the first pass and the first three of the second.
    fives, twelves = taken(auxiliary_batches(size=5), [5] * 12), taken(auxiliary_batches(size=12), [12] * 5)
    assert fives == twelves


def test_a_batch_of_more_than_a_pass_goes_round_again():
    result = taken(auxiliary_batches(3, size=8), [8])
    assert result == taken(auxiliary_batches(3, size=1), [1] * 8)
    assert {number: result[:6].count(number) for number in range(3)} == {0: 2, 1: 2, 2: 2}


def test_only_the_chosen_classes_accompany_and_keep_their_labels():
    result = taken(auxiliary_batches(size=3, classes=[7, 2, 9]), [3, 3])
    assert sorted(result[:3]) == sorted(result[3:]) == [2, 7, 9]


def test_auxiliary_images_are_a_function_of_the_step():
    used = auxiliary_batches(flip=True)
    for step in (5, 0, 3):
        used.get(step, 4)
        torch.rand(3)  # nor of the global generator
    for one, other in zip(auxiliary_batches(flip=True).get(7, 4), used.get(7, 4), strict=True):
        assert torch.equal(one, other)
    assert taken(auxiliary_batches(size=12), [12]) != taken(auxiliary_batches(size=12, seed=1), [12])


def test_auxiliary_images_are_mirrored_if_their_data_set_is_and_else_not():
    pixels = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(40, 1, 2, 2).contiguous()
    images = Images(pixels, torch.zeros(40, dtype=torch.int64), 4)
    for flip, kinds in ((False, 1), (True, 2)):
        augmentation = {"pad": 0, "flip": flip}
        source = AuxiliaryBatches(images, classes=None, offset=0, batch_size=20, seed=0, augmentation=augmentation)
        x = torch.cat([source.get(step, 20)[0] for step in range(2)])
        assert len(x.unique(dim=0)) == kinds
        assert {tuple(image.flatten().tolist()) for image in x} <= {(0.25, 0.5, 0.75, 1.0), (0.5, 0.25, 1.0, 0.75)}


def test_which_auxiliary_images_are_mirrored_differs_from_step_to_step():
    pixels = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8).expand(40, 1, 2, 2).contiguous()
    source = AuxiliaryBatches(
        Images(pixels, torch.zeros(40).long(), 4),
        classes=None,
        offset=0,
        batch_size=40,
        seed=0,
        augmentation={"pad": 0, "flip": True},
    )
    assert len({source.get(step, 40)[0].numpy().tobytes() for step in range(3)}) == 3


def test_auxiliary_images_of_an_epoch_whose_last_batch_is_smaller_do_not_repeat_within_a_pass():
    # Batches of 4, 4 and 3, as a training set of 11 gives: 11 of 12 auxiliary images, none of them twice.
    result = taken(auxiliary_batches(), [4, 4, 3])
    assert len(set(result)) == len(result) == 11


# -- images that stay in their file ------------------------------------------------------------------------------------


def stored(sizes, *, shape=(1, 4, 4), levels=255):
    """A split of pictures (1, h, w) whose pixels all differ by picture."""
    pictures = [np.full((1, h, w), 10 * k, dtype=np.uint8) for k, (h, w) in enumerate(sizes)]
    table = np.array([picture.shape for picture in pictures], dtype=np.int32)
    ends = table.astype(np.int64).prod(axis=1).cumsum()
    return Split(
        labels=np.arange(len(sizes)),
        levels=levels,
        indices=np.arange(len(sizes)),
        pixels=np.concatenate([picture.ravel() for picture in pictures]),
        shape=shape,
        sizes=table,
        starts=np.concatenate([[0], ends[:-1]]),
    )


def test_images_that_are_too_many_are_read_from_the_file_and_are_the_same(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 17, (9, 1, 4, 4), dtype=np.uint8)
    split = Split(labels=np.arange(5), levels=16, indices=np.array([8, 0, 3, 5, 1]), pixels=pixels, shape=(1, 4, 4))
    held = Images.of(split, torch.device("cpu"))
    monkeypatch.setattr(stored_or_held, "HELD_BYTES", 5 * 16 - 1)
    read = Images.of(split, torch.device("cpu"))
    assert held.pixels is not None
    assert read.pixels is None
    augmentation = {"pad": 1, "flip": True}
    for index in (slice(1, 4), torch.tensor([4, 0, 0])):
        assert all(torch.equal(a, b) for a, b in zip(held.take(index), read.take(index), strict=True))
    index = torch.tensor([2, 1])
    draws = [images.drawn(index, augmentation, torch.Generator().manual_seed(5))[0] for images in (held, read)]
    assert torch.equal(*draws)


def test_random_resized_crops_of_one_coloured_pictures_keep_their_colour_and_have_the_wanted_shape():
    images = Images.of(stored([(6, 9), (8, 4), (5, 5)]), torch.device("cpu"))
    assert images.pixels is None
    draws = torch.Generator().manual_seed(0)
    x, y = images.drawn(torch.tensor([2, 0, 1]), {"random_resized_crop": True, "flip": True}, draws)
    assert x.shape == (3, 1, 4, 4)
    assert y.tolist() == [2, 0, 1]
    torch.testing.assert_close(x[:, 0, 0, 0], torch.tensor([20.0, 0.0, 10.0]) / 255)
    torch.testing.assert_close(x, x[:, :, :1, :1].expand_as(x))


def test_crop_boxes_lie_inside_and_have_torchvisions_areas_and_ratios():
    sizes = torch.tensor([[300, 400]] * 4000)
    top, left, h, w = crop_boxes(sizes, torch.Generator().manual_seed(1)).double().T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + h <= 300).all()
    assert (left + w <= 400).all()
    share, ratio = h * w / 120_000, w / h
    assert share.min() > 0.075  # 0.08, and sides are rounded to whole pixels
    assert ratio.min() > 0.74
    assert ratio.max() < 1.35
    # Of 4,000 draws the mean share has a standard error of 0.0042; boxes that would not fit are drawn again, so
    # large ones are rarer than uniform: torchvision's own mean on this size is compared, within four standard errors.
    own = [RandomResizedCrop.get_params(torch.empty(1, 300, 400), [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    wanted = sum(a * b for _, _, a, b in own) / 4000 / 120_000
    assert float(share.mean()) == pytest.approx(wanted, abs=4 * 2**0.5 * 0.0042)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((10, 300), [0, 143, 10, 13]),  # the middle: 10 high, 10 x 4/3 = 13 wide
        ((300, 10), [143, 0, 13, 10]),
    ],
)
def test_a_picture_in_which_no_box_fits_gives_its_middle(size, box):
    result = crop_boxes(torch.tensor([size] * 50), torch.Generator().manual_seed(0))
    area = result[:, 2] * result[:, 3]
    # 8 % of 3,000 pixels are 240 of at least ratio 3/4: higher than 10 pixels, so nothing ever fits.
    assert result.tolist() == [box] * 50
    assert (area == 130).all()


def test_a_white_picture_stays_within_one_when_it_is_resized():
    white = stored([(37, 53)] * 8, shape=(1, 16, 16))
    white.pixels[:] = 255
    x, _ = Images.of(white, torch.device("cpu")).drawn(
        torch.arange(8), {"random_resized_crop": True, "flip": False}, torch.Generator().manual_seed(0)
    )
    assert x.max() <= 1.0
    torch.testing.assert_close(x, torch.ones_like(x))


def test_images_that_are_used_once_are_not_held_however_few_they_are():
    split = Split(np.arange(3), 255, np.arange(3), np.arange(12, dtype=np.uint8).reshape(3, 1, 2, 2), (1, 2, 2))
    images = Images.of(split, torch.device("cpu"), hold=False)
    assert images.pixels is None
    x, y = images.take(slice(1, 3))
    assert (255 * x).round().flatten().tolist() == list(range(4, 12))
    assert y.tolist() == [1, 2]


def test_images_that_are_held_are_copied_a_part_at_a_time(monkeypatch):
    taken, take = [], Split.take
    monkeypatch.setattr(stored_or_held, "COPIED_AT_A_TIME", 4)
    monkeypatch.setattr(Split, "take", lambda self, positions: (taken.append(len(positions)), take(self, positions))[1])
    pixels = np.random.default_rng(0).integers(0, 255, (10, 1, 2, 2), dtype=np.uint8)
    order = np.random.default_rng(1).permutation(10)
    images = Images.of(Split(np.arange(10), 255, order, pixels, (1, 2, 2)), torch.device("cpu"))
    assert taken == [4, 4, 2]
    assert np.array_equal(images.pixels, pixels[order])


@pytest.mark.parametrize("levels", [1, 16, 255])
def test_pixels_become_what_dividing_them_by_white_gives_and_stay_as_they_are(levels):
    images = Images(torch.arange(levels + 1, dtype=torch.uint8).view(-1, 1, 1, 1), torch.arange(levels + 1), levels)
    for _ in range(2):  # a division in place must not reach the pixels
        x, _ = images.take(slice(None))
        assert x.flatten().tolist() == (torch.arange(levels + 1).float() / levels).tolist()


@pytest.mark.parametrize("channels", [1, 3])
def test_augmented_grey_images_are_not_stored_as_torch_takes_for_channels_last(channels):
    """They were: convolutions ran channels-last in networks that must not, and oneDNN wrote beyond its memory."""
    x = torch.rand(4, channels, 8, 8)
    augmented = augment(x, pad=1, flip=False, draws=torch.Generator().manual_seed(0))
    assert augmented.stride() == (channels * 64, 64, 8, 1)
    convolution = nn.Conv2d(channels, 4, 3, padding=1)
    assert convolution(augmented).is_contiguous()
