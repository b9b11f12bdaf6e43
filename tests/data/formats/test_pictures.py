from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms

from robustft.data.formats.pictures import decode, fit
from robustft.errors import ConfigError, IntegrityError
from tests.data.samples import picture


def photograph(width: int, height: int) -> Image.Image:
    """A picture with structure in all directions, so that a shift by one pixel shows."""
    y, x = np.mgrid[:height, :width]
    wave = np.stack([x * 7 % 256, y * 5 % 256, (x * y) % 256], axis=2)
    return Image.fromarray((wave + np.random.default_rng(0).integers(0, 9, wave.shape)).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


# Odd and even differences to the crop, both orientations, smaller than the target, square, and extreme.
@pytest.mark.parametrize(
    "size", [(301, 200), (200, 301), (64, 64), (310, 203), (300, 300), (256, 500), (257, 256), (40, 333)]
)
@pytest.mark.parametrize(
    ("geometry", "reference"),
    [
        ({"resize": 256, "crop": 224}, [transforms.Resize(256), transforms.CenterCrop(224)]),
        ({"resize": 256, "crop": 225}, [transforms.Resize(256), transforms.CenterCrop(225)]),
        ({"resize": 96}, [transforms.Resize(96)]),
        ({"resize": [224, 160]}, [transforms.Resize([224, 160])]),
        ({}, []),
    ],
)
def test_equals_torchvision_pixel_by_pixel(size, geometry, reference):
    image = photograph(*size)
    expected = np.asarray(transforms.Compose(reference)(image)).transpose(2, 0, 1)
    observed = fit(image, geometry)
    assert observed.dtype == np.uint8
    assert observed.flags.c_contiguous
    np.testing.assert_array_equal(observed, expected)


def test_equals_torchvision_on_a_jpeg():
    data = encoded(photograph(333, 251), "JPEG")
    with Image.open(io.BytesIO(data)) as opened:
        both = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(56)])
        expected = np.asarray(both(opened.convert("RGB"))).transpose(2, 0, 1)
    np.testing.assert_array_equal(decode(data, where="x", geometry={"resize": 64, "crop": 56}), expected)


def test_every_mode_becomes_rgb():
    grey = decode(encoded(Image.new("L", (3, 2), 77), "PNG"), where="x")
    assert grey.shape == (3, 2, 3)
    assert (grey == 77).all()
    # Alpha is dropped, as torchvision's loader drops it; a palette is looked up; CMYK's 0 ink is white.
    assert decode(encoded(Image.new("RGBA", (1, 1), (1, 2, 3, 0)), "PNG"), where="x").ravel().tolist() == [1, 2, 3]
    palette = Image.new("RGB", (1, 1), (10, 20, 30)).quantize(2)
    assert decode(encoded(palette, "PNG"), where="x").ravel().tolist() == [10, 20, 30]
    cmyk = decode(encoded(Image.new("CMYK", (1, 1), (0, 0, 0, 0)), "JPEG"), where="x").ravel().tolist()
    assert cmyk == [255, 255, 255]


TRUNCATED = encoded(photograph(64, 64), "JPEG")[:900]


@pytest.mark.parametrize(
    "broken", [b"", b"no picture", picture(1)[:40], TRUNCATED], ids=["empty", "text", "PNG", "JPEG"]
)
def test_a_broken_picture_names_its_file(broken):
    with pytest.raises(IntegrityError, match="cannot be decoded") as error:
        decode(broken, where="a.tar: images/7.jpg")
    assert "a.tar: images/7.jpg" in str(error.value)
    assert f"{len(broken)} bytes" in str(error.value)


def test_a_crop_larger_than_the_picture_is_no_padding():
    with pytest.raises(ConfigError, match="larger"):
        fit(photograph(32, 40), {"resize": 32, "crop": 33})
