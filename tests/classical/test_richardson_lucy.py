"""Richardson-Lucy: its invariants, scikit-image beside it, and what the options do."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.restoration import richardson_lucy as reference

from unblur.classical.richardson_lucy import richardson_lucy
from unblur.errors import OptionError
from unblur.image import quantise
from unblur.physics.convolve import convolve, gaussian_blur
from unblur.physics.kernels import delta, gaussian


def divergence(observed, restored, kernel, border="circular"):
    """What Richardson-Lucy lowers: Csiszar's I-divergence of the blurred restoration from the observed image."""
    expected = np.maximum(convolve(restored, kernel, border=border).astype(np.float64), 1e-9)
    observed = np.maximum(observed.astype(np.float64), 1e-9)
    return float((observed * np.log(observed / expected) - observed + expected).mean())


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("border", ["auto", "circular"])
def test_a_delta_kernel_changes_nothing(portrait, accelerated, border):
    restored = richardson_lucy(portrait, delta(), accelerated=accelerated, border=border)
    assert np.abs(restored - portrait).max() < 1e-5


@pytest.mark.parametrize("accelerated", [False, True])
def test_flux_is_kept_in_a_circular_world(portrait, accelerated):
    dim = 0.2 * portrait + np.float32(0.1)  # nothing reaches 0 or 1, where the result is cut off
    image = convolve(dim, gaussian(1.5), border="circular")
    restored = richardson_lucy(image, gaussian(1.5), border="circular", accelerated=accelerated)
    assert 0 < restored.min() < restored.max() < 1
    sums = image.sum(axis=(0, 1), dtype=np.float64)
    assert np.allclose(restored.sum(axis=(0, 1), dtype=np.float64), sums, rtol=2e-6)


@pytest.mark.parametrize("accelerated", [False, True])
def test_the_likelihood_never_falls(portrait, accelerated):
    image = quantise(convolve(0.8 * portrait, gaussian(2.0), border="circular"))
    course = [
        divergence(
            image,
            richardson_lucy(image, gaussian(2.0), border="circular", accelerated=accelerated, iterations=n),
            gaussian(2.0),
        )
        for n in range(1, 12)
    ]
    assert (np.diff(course) < 0).all()


def test_it_is_scikit_images_away_from_the_border(camera):
    kernel = gaussian(1.5)
    image = quantise(gaussian_blur(np.ascontiguousarray(camera[100:360, 100:360]), 1.5))
    ours = richardson_lucy(image, kernel, iterations=30, accelerated=False, start="flat", border="zero")
    theirs = reference(image[:, :, 0], kernel, num_iter=30, clip=True)
    assert theirs.dtype == np.float32
    assert np.abs(ours[:, :, 0] - theirs)[60:-60, 60:-60].max() < 1e-3
    assert (
        np.abs(ours[:, :, 0] - theirs).max() > 1e-2
    )  # at the border they differ, so this compares something


def test_ten_accelerated_steps_go_as_far_as_two_dozen_plain_ones(blurred, kernel):
    plain, fast = (
        richardson_lucy(blurred, kernel, iterations=n, accelerated=accelerated)
        for n, accelerated in ((24, False), (10, True))
    )
    assert divergence(blurred, fast, kernel, "reflect101") < divergence(blurred, plain, kernel, "reflect101")


def test_damping_spares_what_is_within_the_noise(rng):
    flat = np.full((96, 96, 1), 0.5, np.float32)
    flat[:, 48:] = 0.8
    noise = 0.02
    image = gaussian_blur(flat, 1.5) + np.float32(noise) * rng.standard_normal(flat.shape, np.float32)

    def roughness(damping):
        restored = richardson_lucy(image, gaussian(1.5), noise=noise, damping=damping, iterations=20)
        return restored[20:-20, 8:36].std(), np.abs(np.diff(restored[:, 40:56, 0], axis=1)).max()

    undamped, damped = roughness(0.0), roughness(3.0)
    assert damped[0] < 0.5 * undamped[0]
    assert damped[1] > 0.05  # the edge, far outside the noise, is still sharpened
    untouched = richardson_lucy(image, gaussian(1.5), noise=noise, damping=1e4)
    assert np.abs(untouched - np.clip(image, 0, 1)).max() < 1e-3


def test_options_out_of_range(portrait, kernel):
    with pytest.raises(OptionError, match="damping"):
        richardson_lucy(portrait, kernel, damping=-1)
    with pytest.raises(OptionError, match="start"):
        richardson_lucy(portrait, kernel, start="zero")
