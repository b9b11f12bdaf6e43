import numpy as np
import pytest
import torch
from PIL import Image

from robustft.assess.images import find_images
from robustft.errors import RobustftError

CPU = torch.device("cpu")


@pytest.fixture
def pictures(tmp_path):
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8), (50 * label, 50 * label, 50 * label)).save(tmp_path / name / f"{number}.png")
    return tmp_path


def quiet(_):
    pass


def test_a_folder_gives_a_stratified_beginning_and_grey_where_it_is_asked_for(pictures):
    found = find_images(str(pictures), split=None, images=4, log=quiet)
    assert np.bincount(found.labels).tolist() == [2, 2]
    x, y = found.open(CPU, 1, None).take(slice(0, 4))
    assert x.shape == (4, 1, 8, 8)
    assert torch.allclose(x[:, 0, 0, 0], y * 50 / 255)
    assert str(found) == f"{pictures.name}, all: 4 images of 2 classes"


def test_colours_are_not_made_grey_and_sizes_not_guessed(pictures):
    Image.new("RGB", (8, 8), (9, 0, 0)).save(pictures / "a" / "0.png")
    with pytest.raises(RobustftError, match="have colours"):
        find_images(str(pictures), split=None, images=None, log=quiet).open(CPU, 1, None).take(slice(0, 6))
    Image.new("RGB", (9, 8)).save(pictures / "a" / "0.png")
    with pytest.raises(RobustftError, match="different sizes"):
        find_images(str(pictures), split=None, images=None, log=quiet).open(CPU, 3, None)
    assert (
        find_images(str(pictures), split=None, images=None, log=quiet).open(CPU, 3, 7).take(slice(0, 2))[0].shape[2]
        == 7
    )


@pytest.mark.parametrize(
    ("data", "split", "images", "said"),
    [
        ("cifar11", None, None, "did you mean 'cifar1"),
        ("PLACE", "test", None, "no split 'test'"),
        ("PLACE", None, 7, "from 1 to 6"),
    ],
)
def test_what_is_not_there_is_refused(pictures, data, split, images, said):
    with pytest.raises(RobustftError, match=said):
        find_images(data.replace("PLACE", str(pictures)), split=split, images=images, log=quiet)


def test_another_pixel_gives_another_digest():
    images, labels = np.zeros((4, 1, 8, 8), np.uint8), np.array([0, 1, 0, 1])
    first = find_images((images, labels), split=None, images=None, log=quiet).digest
    images = images.copy()
    images[3, 0, 0, 0] = 1
    assert find_images((images, labels), split=None, images=None, log=quiet).digest != first


def test_a_name_of_the_catalogue_is_decoded_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = find_images("digits_5to9", split=None, images=10, log=quiet)
    assert (found.count, found.split, len(found.labels)) == (5, "test", 10)
    assert found.open(CPU, 1, None).take(slice(0, 3))[0].shape == (3, 1, 8, 8)
