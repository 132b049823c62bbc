"""What is measured of an image before it is restored."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical import image_statistics
from unblur.classical.canvas import ROUNDING_NOISE
from unblur.classical.prior import (
    PowerLaw,
    decorrelate,
    expected_energy,
    frequencies,
    gradient_power,
    noise_to_signal,
    rotate,
)
from unblur.classical.wiener import wiener
from unblur.errors import OptionError
from unblur.physics.convolve import convolve
from unblur.physics.kernels import gaussian


def fractal(rng, shape, scale, exponent):
    """A plane with the power density scale * f ** -exponent."""
    f = frequencies(shape)
    f[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal(shape)) * np.sqrt(scale * f**-exponent)
    return np.fft.irfft2(spectrum, shape)


@pytest.mark.parametrize("exponent", [1.6, 2.0, 3.0])
@pytest.mark.parametrize("sigma", [0.7, 1.5])
def test_the_power_law_is_found_behind_blur_and_noise(exponent, sigma, rng):
    scale = 2e-4 if exponent < 3 else 2e-5
    plane = 0.5 + fractal(rng, (256, 300), scale, exponent)
    image = convolve(plane[:, :, None].astype(np.float32), gaussian(sigma), border="circular")
    image += np.float32(0.002) * rng.standard_normal(image.shape, np.float32)
    (law,) = image_statistics(image, gaussian(sigma), noise=0.002).laws
    assert law.exponent == pytest.approx(exponent, abs=0.3)
    at = 0.1
    assert law.scale * at**-law.exponent == pytest.approx(scale * at**-exponent, rel=0.25)


def test_colours_are_decorrelated(portrait):
    planes = portrait.transpose(2, 0, 1)
    rotation = decorrelate(planes)
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    turned = rotate(rotation, planes)
    gradients = np.concatenate([np.diff(turned, axis=axis).reshape(3, -1) for axis in (1, 2)], axis=1)
    covariance = gradients @ gradients.T
    off = covariance - np.diag(np.diag(covariance))
    assert np.abs(off).max() < 1e-3 * covariance[0, 0]
    assert (np.diff(np.diag(covariance)) < 0).all()
    assert np.allclose(rotate(rotation.T, turned), planes, atol=1e-5)


@pytest.mark.parametrize("grid", [(40, 50), (41, 51)])
def test_expected_energy_is_that_of_the_gradient(grid, rng):
    law = PowerLaw(3e-4, 2.0)
    ratio = noise_to_signal((law,), ROUNDING_NOISE, grid)
    planes = np.stack([fractal(rng, grid, *law) for _ in range(200)])
    squares = [np.square(np.roll(planes, -1, axis) - planes).mean() for axis in (1, 2)]
    energy = ROUNDING_NOISE**2 * float(expected_energy(ratio, gradient_power(grid), grid)[0, 0, 0])
    assert energy == pytest.approx(sum(squares), rel=0.02)


def test_statistics_of_other_colours_do_not_fit(portrait, kernel):
    grey = np.ascontiguousarray(portrait[:, :, :1])
    with pytest.raises(OptionError, match="colours"):
        wiener(portrait, kernel, statistics=image_statistics(grey, kernel))
