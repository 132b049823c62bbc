"""Blind deconvolution: what it keeps, and that it finds a kernel where one can be found."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical.blind import blind_deconvolution
from unblur.classical.richardson_lucy import richardson_lucy
from unblur.errors import KernelError, OptionError
from unblur.metrics import kernel_distance, psnr
from unblur.physics.convolve import convolve
from unblur.physics.kernels import check_kernel, gaussian


@pytest.fixture
def hook():
    """A kernel without any symmetry, 9x9."""
    kernel = np.zeros((9, 9), np.float32)
    kernel[2:6, 3], kernel[5, 3:7] = 1, 2
    return check_kernel(kernel)


@pytest.mark.parametrize("border", ["unknown", "auto", "circular"])
@pytest.mark.parametrize("accelerated", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 20, 1), (40, 50, 3)])
def test_a_kernel_comes_back(border, accelerated, shape, rng):
    image = rng.random(shape, dtype=np.float32)
    restored, kernel = blind_deconvolution(image, gaussian(1.0), border=border, accelerated=accelerated)
    assert restored.shape == shape
    assert np.isfinite(restored).all()
    assert kernel.shape == gaussian(1.0).shape
    assert kernel.dtype == np.float32
    assert kernel.min() >= 0
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-6)


def test_the_true_kernel_stays(portrait, blurred, kernel):
    restored, found = blind_deconvolution(blurred, kernel)
    assert kernel_distance(found, kernel) < 1e-4
    known = richardson_lucy(blurred, kernel, border="unknown")
    assert psnr(restored, known, data_range=1) > 45


@pytest.mark.parametrize("border", ["unknown", "circular"])
def test_a_wrong_kernel_moves_towards_the_true_one(portrait, hook, border):
    """Slowly, as maximum likelihood does: it has no idea of what a picture should look like."""
    box = check_kernel(np.ones((9, 9)))
    image = convolve(portrait, hook, border="circular")
    found = [blind_deconvolution(image, box, iterations=n, border=border)[1] for n in (2, 6, 12)]
    distances = [kernel_distance(kernel, hook) for kernel in (box, *found)]
    assert (np.diff(distances) < 0).all()
    assert distances[-1] < 0.985 * distances[0]


def test_what_it_does_not_take(portrait):
    with pytest.raises(KernelError):
        blind_deconvolution(portrait, np.ones((4, 4), np.float32))
    with pytest.raises(OptionError, match="iterations"):
        blind_deconvolution(portrait, gaussian(1.0), iterations=0)
