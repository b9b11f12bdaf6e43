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


RAMP = np.linspace(0, 65535, 48).astype(np.uint16).reshape(6, 8)


def pgm(white: int, values: np.ndarray, kind: bytes = b"P5") -> bytes:
    text = values.astype(">u2").tobytes() if kind == b"P5" else b" ".join(b"%d" % value for value in values.ravel())
    return b"%b %d %d %d\n" % (kind, *values.shape[::-1], white) + text


@pytest.mark.parametrize(
    "data",
    [
        encoded(Image.fromarray(RAMP), "PNG"),
        encoded(Image.fromarray(RAMP), "TIFF"),
        encoded(Image.fromarray(RAMP.astype(">u2")), "TIFF"),
        pgm(65535, RAMP),
        pgm(65535, RAMP, b"P2"),
    ],
    ids=["PNG", "TIFF", "big-endian TIFF", "PGM", "plain PGM"],
)
def test_sixteen_bits_of_grey_keep_their_greys(data):
    """They were cut at 255: 47 of these 48 pixels became white, without a word."""
    observed = decode(data, where="x")
    np.testing.assert_array_equal(observed, np.broadcast_to(RAMP >> 8, (3, 6, 8)))


def test_a_pgm_of_ten_bits_is_stretched_to_its_full_white():
    values = np.array([[0, 1, 512, 1018, 1023]])
    assert decode(pgm(1023, values), where="x")[0].tolist() == [[0, 0, 128, 254, 255]]


def tiff(values: np.ndarray, **tags: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF", tiffinfo={{"photometric": 262}[name]: v for name, v in tags.items()})
    return stream.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        tiff(np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)),
        tiff(np.arange(48, dtype=np.int32).reshape(6, 8) * 1000),
        tiff(RAMP, photometric=0),
        b"Pf\n8 6\n-1.0\n" + np.linspace(0, 1, 48, dtype="<f4").tobytes(),
    ],
    ids=["float TIFF", "TIFF of 32 bits", "TIFF whose 0 is white", "PFM"],
)
def test_a_picture_whose_full_white_is_not_known_is_refused(data):
    with pytest.raises(IntegrityError, match="which value is full white") as error:
        decode(data, where="a.tar: images/7.tif")
    assert "a.tar: images/7.tif" in str(error.value)


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
