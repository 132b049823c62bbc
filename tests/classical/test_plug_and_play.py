"""Plug and play: what the denoiser says, and what the data say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unblur.classical.plug_and_play import plug_and_play
from unblur.classical.total_variation import total_variation
from unblur.errors import OptionError
from unblur.image import quantise
from unblur.metrics import psnr
from unblur.physics.convolve import convolve
from unblur.physics.kernels import disk, gaussian, motion

NOISE = 0.01


def given(sharp, kernel, rng):
    blurred = convolve(sharp, kernel)
    return quantise(blurred + np.float32(NOISE) * rng.standard_normal(blurred.shape, np.float32))


@pytest.mark.parametrize("border", ["unknown", "reflect101"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_denoiser_that_does_nothing_leaves_nearly_the_start(astronaut, rng, border, channels):
    image = given(astronaut[100:180, 100:200, :channels], gaussian(1.5), rng)
    seen = []

    def nothing(planes, strength):
        assert planes.shape[0] == 3
        seen.append(strength)
        return planes

    restored = plug_and_play(image, gaussian(1.5), denoise=nothing, noise=NOISE, border=border)
    start = total_variation(image, gaussian(1.5), noise=NOISE, border=border)
    assert restored.shape == image.shape
    assert np.abs(restored - start).mean() < 0.02  # it inverts a little further
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 3


def test_a_denoiser_that_knows_the_picture_brings_it_back(astronaut, rng):
    """What comes out is as the denoiser would have it where the data say nothing."""
    sharp = np.ascontiguousarray(astronaut[100:196, 100:228])
    image = given(sharp, disk(2.5), rng)

    def knows(planes, strength):
        told = planes.copy()
        told[:, : sharp.shape[0], : sharp.shape[1]] = 0.5 * (
            planes[:, : sharp.shape[0], : sharp.shape[1]] + sharp.transpose(2, 0, 1)
        )
        return told

    restored = plug_and_play(image, disk(2.5), denoise=knows, noise=NOISE)
    start = total_variation(image, disk(2.5), noise=NOISE)
    assert psnr(restored, sharp, data_range=1) > psnr(start, sharp, data_range=1) + 3


def test_the_data_are_not_forgotten(astronaut, rng):
    """A denoiser that smears everything is held back by what was observed."""
    sharp = np.ascontiguousarray(astronaut[100:196, 100:228])
    image = given(sharp, motion(9, 20), rng)

    def smears(planes, strength):
        return ndimage.gaussian_filter(planes, (0, 1.5, 1.5))

    once = plug_and_play(image, motion(9, 20), denoise=smears, noise=NOISE, iterations=1)
    often = plug_and_play(image, motion(9, 20), denoise=smears, noise=NOISE, iterations=6)
    assert np.isfinite(often).all()
    assert abs(psnr(often, sharp, data_range=1) - psnr(once, sharp, data_range=1)) < 1


def test_turns_must_be_positive(astronaut):
    with pytest.raises(OptionError, match="iterations"):
        plug_and_play(astronaut, disk(2), denoise=lambda planes, strength: planes, iterations=0)
