"""Pyramids against their definition, and letter boxes there and back."""

import numpy as np
import pytest

from unblur.datasets.letterbox import letterbox, unletterbox
from unblur.datasets.pyramid import pyramid
from unblur.errors import OptionError
from unblur.image import to_array
from unblur.metrics import psnr


def keys(x):
    x = abs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def reduced(plane, factor):
    """Antialiased bicubic by 1/factor from its definition: mirrored edges, exact weights, one rounding."""
    reach = 2 * factor
    taps = np.array([keys((n + 0.5) / factor) for n in range(-reach, reach)])
    taps /= taps.sum()
    for _ in range(2):
        padded = np.pad(plane, ((2 * reach, 2 * reach), (0, 0)), mode="symmetric")
        start = 2 * reach + factor // 2 - reach
        rows = [
            taps @ padded[start + i * factor : start + i * factor + len(taps)]
            for i in range(len(plane) // factor)
        ]
        plane = np.array(rows).T
    return np.clip(np.floor(plane + 0.5), 0, 255)


def test_pyramid_is_the_definition_at_every_level(rng):
    image = rng.integers(0, 256, (64, 48, 3), np.uint8)
    levels = pyramid(image, 3)
    assert levels[0] is image
    assert [level.shape for level in levels] == [(64, 48, 3), (32, 24, 3), (16, 12, 3)]
    for level, factor in zip(levels[1:], (2, 4), strict=True):
        assert level.dtype == np.uint8
        for channel in range(3):
            assert np.array_equal(level[:, :, channel], reduced(image[:, :, channel].astype(float), factor))


def test_pyramid_keeps_floats_and_refuses_odd_sides(rng):
    image = rng.random((8, 8, 1), np.float32)
    assert [level.dtype for level in pyramid(image, 4)] == [np.float32] * 4
    assert pyramid(image, 1) == [image]
    for shape, levels in (((8, 12, 1), 4), ((7, 8, 1), 2), ((8, 8, 1), 0)):
        with pytest.raises(OptionError, match="no pyramid"):
            pyramid(np.zeros(shape, np.uint8), levels)


@pytest.mark.parametrize("turned", [False, True])
def test_letterbox_there_and_back(astronaut, turned):
    frame = to_array(astronaut, np.uint8)[100:280, 100:420]
    frame = frame.transpose(1, 0, 2) if turned else frame
    boxed = letterbox(frame)
    assert boxed.shape == (256, 256, 3)
    upright = boxed.transpose(1, 0, 2) if turned else boxed
    assert not upright[:56].any()
    assert not upright[200:].any()
    assert (upright[56:200].mean(axis=(1, 2)) > 10).all()
    back = unletterbox(boxed, *frame.shape[:2])
    assert back.shape == frame.shape
    assert psnr(back, frame, data_range=255) > 30  # what a reduction to 4/5 loses of this picture
    assert psnr(back[::-1], frame, data_range=255) < 20


def test_letterbox_of_a_square_and_of_floats():
    square = np.full((256, 256, 1), 0.25, np.float32)
    assert np.array_equal(letterbox(square), square)
    line = letterbox(np.full((1, 600, 3), 7, np.uint8), 64)
    assert (line[31] == 7).all()
    assert line.sum() == 64 * 3 * 7
