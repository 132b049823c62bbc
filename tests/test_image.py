"""The image contract."""

import numpy as np
import pytest

from unblur import image
from unblur.errors import ImageError


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (1, 1)])
def test_integers_survive_the_round_trip(dtype, shape, rng):
    array = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
    there = image.from_array(array)
    assert there.dtype == np.float32
    assert 0 <= there.min() <= there.max() <= 1
    assert np.array_equal(image.to_array(there, dtype).reshape(shape), array)


def test_every_8_bit_and_16_bit_level_survives():
    for dtype in (np.uint8, np.uint16):
        levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype)[None]
        assert np.array_equal(image.to_array(image.from_array(levels), dtype)[:, :, 0], levels)


def test_the_range_is_never_guessed():
    dark = np.ones((3, 3), np.uint8)
    assert image.from_array(dark).max() == np.float32(1 / 255)
    with pytest.raises(ImageError, match="divide by the white level"):
        image.from_array(np.full((3, 3), 200.0))
    assert image.from_array(np.full((3, 3), 1.01)).max() == 1


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((3,), np.uint8),
        np.zeros((3, 3, 2), np.uint8),
        np.zeros((0, 3), np.uint8),
        np.zeros((3, 3), np.int32),
        np.zeros((3, 3), bool),
        np.full((3, 3), np.nan),
        np.full((3, 3), np.inf),
        [[1, 2]],
    ],
)
def test_what_is_not_an_image_is_refused(bad):
    with pytest.raises(ImageError):
        image.from_array(bad)


def test_check_image():
    good = np.zeros((2, 3, 1), np.float32)
    assert image.check_image(good) is good
    for bad in (
        good[:, :, 0],
        good.astype(np.float64),
        np.full((2, 2, 3), np.nan, np.float32),
        np.zeros((2, 2, 4), np.float32),
    ):
        with pytest.raises(ImageError, match="picture"):
            image.check_image(bad, "picture")


def test_rounding():
    half = np.full((1, 1, 1), 127.5 / 255, np.float32)
    assert image.to_array(half, np.uint8)[0, 0, 0] == 128
    assert image.to_array(half, np.uint8, "floor")[0, 0, 0] == 127
    assert image.quantise(half)[0, 0, 0] == np.float32(128 / 255)
    assert image.quantise(half, rounding="floor")[0, 0, 0] == np.float32(127 / 255)
    assert image.to_array(np.array([[[-1.0], [2.0]]], np.float32), np.uint8).ravel().tolist() == [0, 255]
    with pytest.raises(ImageError):
        image.to_array(half, np.int16)


def test_luma():
    white = np.ones((2, 2, 3), np.float32)
    np.testing.assert_allclose(image.luma(white), 1, atol=1e-6)
    assert image.luma(white[:, :, :1]).shape == (2, 2)
    assert image.luma(np.array([[[0, 1, 0]]], np.float32))[0, 0] == np.float32(0.587)
