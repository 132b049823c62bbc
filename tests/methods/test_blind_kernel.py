"""Camera shake, found and taken out."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data as pictures

from unblur import restore
from unblur.datasets.levin import levin
from unblur.image import from_array, to_array
from unblur.metrics.alignment import score_up_to_shift
from unblur.metrics.psnr import psnr
from unblur.physics import kernels
from unblur.physics.convolve import convolve


def test_shake_is_taken_out():
    sharp = pictures.camera()[100:356, 120:376]
    kernel = kernels.shake(15, np.random.default_rng(3))
    blurred = to_array(convolve(from_array(sharp), kernel), np.uint8)[:, :, 0]
    result = restore(blurred, "blind-kernel")
    assert result.blur.kind == "shake"
    before, after = (psnr(sharp, picture, data_range=255) for picture in (blurred, result.image))
    assert after > before + 3


def test_flat_picture_is_left_alone():
    flat = np.full((80, 90, 3), 77, np.uint8)
    result = restore(flat, "blind-kernel")
    assert (result.image == flat).all()
    assert result.left_alone
    assert result.blur.confidence == 0


@pytest.mark.data
@pytest.mark.parametrize(("index", "least"), [(0, 32.0), (10, 32.5)])
def test_real_shake(data, index, least):
    """Up to a shift; each is over a decibel under what was measured."""
    picture = levin(data / "levin09", data / "kernels")[index]
    restored = from_array(restore(picture.blurred, "blind-kernel").image)
    assert score_up_to_shift(from_array(picture.sharp), restored).psnr > least
