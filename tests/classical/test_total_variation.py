"""Total variation: the operators, the minimum, and what the prior is good for."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical.total_variation import _adjoint_differences, _differences, total_variation
from unblur.classical.wiener import wiener
from unblur.errors import OptionError
from unblur.image import quantise
from unblur.metrics import psnr
from unblur.physics.convolve import convolve, gaussian_blur
from unblur.physics.kernels import gaussian, motion


def wrapped(array):
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(1, 1), (1, 1)], mode="wrap")


def test_a_short_inverse_takes_fewer_iterations(astronaut, rng):
    """And the few are as good as more: they begin with the linear restoration."""
    sharp = astronaut[100:260, 100:300]
    for kernel, noise, steps in ((gaussian(1.5), 0.005, 5), (motion(9, 20), 0.0, 8)):
        blurred = convolve(sharp, kernel)
        image = quantise(blurred + np.float32(noise) * rng.standard_normal(blurred.shape, np.float32))
        found = {
            count: total_variation(image, kernel, noise=noise or None, border="unknown", iterations=count)
            for count in (None, 3, steps, 12)
        }
        np.testing.assert_array_equal(found[None], found[steps])
        scores = {count: psnr(one, sharp, data_range=1) for count, one in found.items()}
        assert scores[None] > scores[12] - 0.2
        assert scores[3] > psnr(image, sharp, data_range=1) + 1


def test_the_adjoint_is_the_adjoint(rng):
    planes = rng.standard_normal((3, 9, 11)).astype(np.float32)
    fields = rng.standard_normal((5, 3, 9, 11)).astype(np.float32)
    factors = np.array([2, 2, 3, 3, 3 * 2**0.5], np.float32)[:, None, None, None]
    forward = float((_differences(wrapped(planes)) * factors * fields).sum())
    backward = float((planes * _adjoint_differences(wrapped(fields), factors)).sum())
    assert forward == pytest.approx(backward, rel=1e-5)


def test_the_differences_are_forward_and_central(rng):
    plane = rng.standard_normal((1, 6, 7)).astype(np.float32)
    right, down, twice_right, twice_down, across = _differences(wrapped(plane))
    assert np.allclose(right, np.roll(plane, -1, 2) - plane, atol=1e-6)
    assert np.allclose(down, np.roll(plane, -1, 1) - plane, atol=1e-6)
    assert np.allclose(twice_right, right - np.roll(right, 1, 2), atol=1e-6)
    assert np.allclose(twice_down, down - np.roll(down, 1, 1), atol=1e-6)
    assert np.allclose(across, np.roll(right, -1, 1) - right, atol=1e-6)


def test_edges_are_worth_more_than_a_linear_filter(rng):
    """A cartoon in noise: well above the best linear filter."""
    cartoon = np.full((128, 128, 3), 0.2, np.float32)
    cartoon[30:90, 20:70], cartoon[60:110, 60:115] = (0.8, 0.3, 0.1), (0.1, 0.5, 0.9)
    noisy = gaussian_blur(cartoon, 1.5) + np.float32(0.01) * rng.standard_normal(cartoon.shape, np.float32)
    noisy = quantise(noisy)
    ours, linear = (
        psnr(solve(noisy, gaussian(1.5), noise=0.01), cartoon, data_range=1)
        for solve in (total_variation, wiener)
    )
    assert ours > linear + 1.5


def test_the_default_weight_is_near_the_best(portrait, blurred, kernel):
    half, default, twice = (
        psnr(total_variation(blurred, kernel, weight=weight), portrait, data_range=1)
        for weight in (0.4, 1, 2.5)
    )
    assert default > half
    assert default > twice


def test_it_has_converged(portrait, blurred, photographed, kernel):
    for image in (blurred, photographed):
        default, long = (
            psnr(total_variation(image, kernel, iterations=n), portrait, data_range=1) for n in (None, 60)
        )
        assert default == pytest.approx(long, abs=0.15)


def test_colours_help_each_other(portrait, blurred, kernel):
    together = total_variation(blurred, kernel)
    apart = np.concatenate(
        [total_variation(np.ascontiguousarray(blurred[:, :, c : c + 1]), kernel) for c in range(3)], axis=2
    )
    assert psnr(together, portrait, data_range=1) > psnr(apart, portrait, data_range=1) + 0.3


def test_weight_out_of_range(portrait, kernel):
    with pytest.raises(OptionError, match="weight"):
        total_variation(portrait, kernel, weight=0)
