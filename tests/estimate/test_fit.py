"""The fine numbers of a blur, against kernels that are known."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.estimate import analyse
from unblur.estimate.fit import Periodogram, coarse_taps, noise_under, periodogram, refine, round_blur
from unblur.image import Image, from_array, quantise, to_array
from unblur.physics.blur import Kernel
from unblur.physics.convolve import convolve, gaussian_blur_u8
from unblur.physics.kernels import disk, gaussian, gaussian_u8, motion


@pytest.mark.parametrize(("length", "angle"), [(7.3, 12.0), (15.0, 127.3), (22.6, 88.0)])
def test_motion_to_a_twentieth_of_a_pixel(camera: Image, length: float, angle: float) -> None:
    found = periodogram(quantise(convolve(camera, motion(length, angle))))
    assert found is not None
    read = refine(found, "motion", (length * 1.04, angle + 3))
    assert read is not None
    assert read.numbers == pytest.approx((length, angle), abs=0.05 if length > 10 else 0.15)


@pytest.mark.parametrize("radius", [1.6, 2.83, 4.0, 6.4])
def test_disk_to_a_fiftieth_of_a_pixel(astronaut: Image, radius: float) -> None:
    found = periodogram(quantise(convolve(astronaut, disk(radius))))
    assert found is not None
    read = refine(found, "disk", (radius * 1.05,))
    assert read is not None
    assert read.numbers == pytest.approx((radius,), abs=0.02)


@pytest.mark.parametrize("kernel", [gaussian(1.8), gaussian(2.6, 1.1, 70), disk(3.3), motion(13, 25)])
@pytest.mark.parametrize("noise", [0.0, 0.004, 0.016])
def test_noise_under_a_known_blur(camera: Image, astronaut: Image, kernel: Kernel, noise: float) -> None:
    rng = np.random.default_rng(3)
    for image in (camera, astronaut):
        blurred = convolve(image, kernel)
        found = periodogram(quantise(blurred + rng.normal(0, noise, blurred.shape).astype(np.float32)))
        assert found is not None
        assert noise_under(found, kernel) == pytest.approx(np.hypot(noise, 1 / (255 * 12**0.5)), rel=0.15)


def test_no_noise_where_nothing_is() -> None:
    found = periodogram(np.full((80, 80, 3), 0.5, np.float32))
    assert found is not None
    assert noise_under(found, disk(2.0)) == 0


def test_oblique_gaussian(astronaut: Image) -> None:
    found = periodogram(quantise(convolve(astronaut, gaussian(2.2, 0.9, 35))))
    assert found is not None
    read = refine(found, "gaussian", (2.0, 1.0, 28.0))
    assert read is not None
    assert read.numbers == pytest.approx((2.2, 0.9, 35), rel=0.1)


def test_noise_is_told_from_the_picture(astronaut: Image, rng: np.random.Generator) -> None:
    blurred = convolve(astronaut, motion(12, 40))
    noisy = quantise(blurred + rng.normal(0, 0.01, blurred.shape).astype(np.float32))
    found = periodogram(noisy)
    assert found is not None
    read = refine(found, "motion", (12.4, 37.0))
    assert read is not None
    assert read.numbers == pytest.approx((12, 40), abs=0.4)


def test_too_small_or_too_flat(astronaut: Image) -> None:
    assert periodogram(astronaut[:63]) is None
    flat = periodogram(np.full((100, 100, 1), 0.5, np.float32))
    assert flat is not None
    assert refine(flat, "disk", (2.0,)) is None


def test_the_whole_estimate_is_fine(astronaut: Image) -> None:
    found = analyse(quantise(convolve(astronaut, motion(15, 62.3)))).blur
    assert found.kind == "motion"
    assert found.parameters["length"] == pytest.approx(15, abs=0.05)
    assert found.parameters["angle"] == pytest.approx(62.3, abs=0.1)


@pytest.mark.parametrize("radius", [1.1, 1.4])
def test_a_disk_too_small_for_rings_is_no_gaussian(radius: float) -> None:
    """Taken for the Gaussian that is like it at high frequencies, it would be overdone by decibels."""
    from skimage import data as pictures

    sharp = from_array(pictures.coffee())
    found = analyse(quantise(convolve(sharp, disk(radius)))).blur
    assert found.kind == "disk"
    assert found.parameters["radius"] == pytest.approx(radius, abs=0.05)
    assert analyse(quantise(convolve(sharp, gaussian(0.9)))).blur.kind == "gaussian"


def _in_noise(image: Image, kernel: Kernel) -> Periodogram:
    blurred = convolve(image, kernel)
    noise = np.random.default_rng(5).normal(0, 0.012, blurred.shape)
    found = periodogram(quantise(np.clip(blurred + noise, 0, 1).astype(np.float32)))
    assert found is not None
    return found


@pytest.mark.parametrize("radius", [1.8, 3.2])
def test_a_disk_whose_rings_lie_in_noise_is_no_gaussian(camera: Image, radius: float) -> None:
    found = _in_noise(camera, disk(radius))
    told = round_blur(found, 0.6 * radius)
    assert told.kind == "disk"
    assert told.number == pytest.approx(radius, abs=0.15)


@pytest.mark.parametrize("sigma", [1.2, 2.0])
def test_a_gaussian_in_noise_stays_one(camera: Image, sigma: float) -> None:
    found = _in_noise(camera, gaussian(sigma))
    assert round_blur(found, 1.04 * sigma) == ("gaussian", 1.04 * sigma)
    if sigma < 2:  # a start that is far off is mended where enough of the picture is left
        assert round_blur(found, 1.7 * sigma).number == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("sigma", [2.0, 3.4, 5.1])
def test_a_gaussian_that_ends_at_two_sigmas_is_read_with_its_size(astronaut: Image, sigma: float) -> None:
    kernel = gaussian(sigma, rule="matlab")
    found = analyse(quantise(convolve(astronaut, kernel))).blur
    assert found.kind == "gaussian"
    assert found.kernel is not None
    assert found.kernel.shape == kernel.shape
    assert found.parameters["sigma"] == pytest.approx(sigma, rel=0.04)


@pytest.mark.parametrize("sigma", [2.0, 3.4, 5.1])
def test_a_whole_gaussian_is_not_cut_off(astronaut: Image, sigma: float) -> None:
    found = analyse(quantise(convolve(astronaut, gaussian(sigma)))).blur
    assert found.kind == "gaussian"
    assert found.kernel is not None
    assert found.kernel.shape == gaussian(found.parameters["sigma"]).shape


@pytest.mark.parametrize("sigma", [7.7, 7.8, 7.9])
def test_a_kernel_that_grows_beyond_the_window(astronaut: Image, sigma: float) -> None:
    found = periodogram(quantise(convolve(astronaut, gaussian(8.9)))[100:227, 100:227])
    assert found is not None
    assert found.side == 64
    read = refine(found, "round", (sigma,))
    assert read is None or read.numbers[0] == pytest.approx(sigma, rel=0.36)


@pytest.mark.parametrize("sigma", [2.73, 3.0, 4.0])
def test_the_taps_of_eight_bit_arithmetic_are_told(astronaut: Image, sigma: float) -> None:
    blurred = from_array(gaussian_blur_u8(to_array(astronaut, np.uint8), sigma))
    kernel = analyse(blurred).blur.kernel
    assert kernel is not None
    assert np.array_equal(kernel, gaussian_u8(sigma))


@pytest.mark.parametrize("sigma", [1.6, 2.0, 3.0, 4.0])
def test_smooth_taps_are_not_taken_for_coarse_ones(astronaut: Image, camera: Image, sigma: float) -> None:
    for image in (astronaut, camera):
        blurred = quantise(convolve(image, gaussian(sigma)))
        found = periodogram(blurred)
        assert found is not None
        assert coarse_taps(found, sigma) is None
        assert coarse_taps(found, 0.9 * sigma) is None
