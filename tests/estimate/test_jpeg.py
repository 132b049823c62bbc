"""JPEG compression is told from the pixels, and its error is reckoned with."""

from __future__ import annotations

import numpy as np
import pytest
import pyvips

import unblur
from unblur.estimate import jpeg, noise_level, noise_sigma, quality_noise
from unblur.estimate.jpeg import _phase
from unblur.image import from_array, luma, quantise, to_array
from unblur.metrics import gain, psnr
from unblur.physics.convolve import convolve, gaussian_blur
from unblur.physics.kernels import disk, gaussian, motion


def compressed(pixels, quality):
    data = pyvips.Image.new_from_array(pixels).jpegsave_buffer(Q=quality, subsample_mode="on")
    return pyvips.Image.new_from_buffer(data, "").numpy()


@pytest.fixture
def soft(astronaut):
    return to_array(gaussian_blur(astronaut, 2.0), np.uint8)


@pytest.mark.parametrize("quality", [40, 60, 75, 90])
@pytest.mark.parametrize("cut", [(0, 0), (3, 5), (7, 1)])
def test_quality_is_read_from_the_pixels(quality, cut, soft):
    pixels = compressed(soft, quality)
    found = jpeg(from_array(np.ascontiguousarray(pixels[cut[0] :, cut[1] :])))
    assert found is not None
    assert found.quality == pytest.approx(quality, abs=7)
    assert found.corner == (-cut[0] % 8, -cut[1] % 8)
    error = (pixels.astype(float) - soft).std() / 255
    assert error / 2 < found.noise < 2 * error


def test_a_high_quality_is_read_where_the_picture_was_not_cut(soft):
    found = jpeg(from_array(compressed(soft, 94)))
    assert found is not None
    assert found.quality == pytest.approx(94, abs=3)


def test_edges_eight_pixels_apart_do_not_hide_the_blocks(soft):
    soft[5::8] = np.maximum(soft[5::8], 60) - 60
    pixels = from_array(compressed(soft, 75))
    assert _phase(255 * luma(pixels)) == 5
    found = jpeg(pixels)
    assert found is not None
    assert found.quality == pytest.approx(75, abs=7)


def test_what_was_never_compressed_is_not_called_so(soft, astronaut, rng):
    assert jpeg(from_array(soft)) is None
    assert jpeg(astronaut) is None
    assert jpeg(rng.random((200, 200, 3), dtype=np.float32)) is None
    assert jpeg(np.full((200, 200, 1), 0.5, np.float32)) is None
    assert jpeg(np.zeros((63, 400, 3), np.float32)) is None


@pytest.mark.parametrize("noise", [0.0, 0.003])
@pytest.mark.parametrize("kernel", [gaussian(0.7), gaussian(3.0), motion(9.0, 40.0), disk(3.0)])
def test_no_kind_of_blur_looks_compressed(kernel, noise, astronaut, rng):
    blurred = convolve(astronaut, kernel)
    blurred = quantise(np.clip(blurred + noise * rng.standard_normal(blurred.shape, np.float32), 0, 1))
    assert jpeg(blurred) is None


def test_the_level_is_the_larger_of_the_two(soft):
    pixels = from_array(compressed(soft, 75))
    assert noise_level(pixels) == pytest.approx(1.5 * jpeg(pixels).noise)
    assert noise_level(from_array(soft)) == noise_sigma(from_array(soft))


@pytest.fixture
def noisy(astronaut, rng):
    """Out of focus, noise of 0.014, and a compression that keeps its coarser half."""
    image = convolve(astronaut, disk(5.0))
    image += rng.normal(0, 0.014, image.shape).astype(np.float32)
    return compressed(to_array(image, np.uint8), 92)


def test_the_spectrum_shows_the_noise_that_jpeg_hides(noisy):
    image = from_array(noisy)
    assert noise_level(image) < 0.009
    assert noise_level(image, disk(5.0)) == pytest.approx(0.014, rel=0.2)


def test_a_wrong_kernel_is_not_taken_for_noise(astronaut):
    image = quantise(convolve(astronaut, motion(15, 30)))
    assert noise_level(image, motion(15, 30)) < 0.002
    assert noise_level(image, motion(15, 120)) == noise_level(image)


def test_a_noisy_compressed_picture_is_not_made_worse(noisy, astronaut):
    result, truth = unblur.restore(noisy), to_array(astronaut, np.uint8)
    assert result.blur.kind == "disk"
    before, after = (psnr(truth, x, data_range=255) for x in (noisy, result.image))
    assert gain(after, before) > 1.0


def test_the_noise_of_a_quality(soft):
    for quality in (60, 75, 90):
        error = (compressed(soft, quality).astype(float) - soft).std() / 255
        assert error / 2.5 < quality_noise(quality) < 2.5 * error


@pytest.mark.parametrize("quality", [60, 90])
@pytest.mark.parametrize("options", [{}, {"sigma": 2.0}, {"sigma": 2.0, "method": "total-variation"}])
def test_a_compressed_picture_is_not_made_worse(quality, options, soft, astronaut):
    pixels, truth = compressed(soft, quality), to_array(astronaut, np.uint8)
    restored = unblur.restore(pixels, **options).image
    before, after = (psnr(truth, x, data_range=255) for x in (pixels, restored))
    assert gain(after, before) > 0.7


def test_a_file_tells_its_quality(tmp_path, soft):
    path = tmp_path / "soft.jpg"
    path.write_bytes(pyvips.Image.new_from_array(soft).jpegsave_buffer(Q=97))
    assert unblur.restore(path, sigma=2.0).blur.noise >= quality_noise(97)
