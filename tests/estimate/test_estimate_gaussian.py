from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips

from unblur.estimate import gaussian_sigma
from unblur.image import Image, from_array, quantise, to_array
from unblur.physics.convolve import convolve
from unblur.physics.kernels import gaussian


def blurred(image: Image, sigma: float) -> Image:
    return quantise(convolve(image, gaussian(sigma)))


def jpeg(image: Image, quality: int) -> Image:
    coded = pyvips.Image.new_from_array(to_array(image, np.uint8)).jpegsave_buffer(Q=quality)
    return from_array(pyvips.Image.new_from_buffer(coded, "").numpy())


def picture(name: str) -> Image:
    from skimage import data

    return from_array(getattr(data, name)())


@pytest.fixture(scope="module", params=["astronaut", "camera", "coffee", "chelsea"])
def photograph(request: pytest.FixtureRequest) -> Image:
    return picture(request.param)


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.5, 2.0, 3.0])
def test_sigma_of_photographs(photograph: Image, sigma: float) -> None:
    found = gaussian_sigma(blurred(photograph, sigma))
    assert found.sigma == pytest.approx(sigma, abs=max(0.1, 0.06 * sigma))
    assert found.confidence > 0.9


def test_large_sigma_is_seen_at_coarser_scales(photograph: Image) -> None:
    assert gaussian_sigma(blurred(photograph, 6.0)).sigma == pytest.approx(6.0, abs=0.4)


def test_the_blur_of_the_lens_reads_as_nothing(photograph: Image) -> None:
    assert gaussian_sigma(photograph).sigma < 0.2


def test_rises_with_the_blur(photograph: Image) -> None:
    """Past the places where another scale takes over, too."""
    sigmas = [0.5, 0.6, 0.75, 1.0, 1.3, 1.6, 1.9, 2.1, 2.3, 2.5, 2.7, 2.9, 3.5, 4.5, 5.5]
    read = [gaussian_sigma(blurred(photograph, sigma)).sigma for sigma in sigmas]
    assert (np.diff(read) > 0.05).all()


def test_same_answer_twice(astronaut: Image) -> None:
    image = blurred(astronaut, 1.3)
    assert gaussian_sigma(image) == gaussian_sigma(image.copy())


@pytest.mark.parametrize("noise", [0.005, 0.01, 0.02])
def test_noise_is_told_from_sharpness(photograph: Image, noise: float) -> None:
    rng = np.random.default_rng(3)
    image = convolve(photograph, gaussian(1.5))
    noisy = quantise(image + rng.normal(0, noise, image.shape).astype(np.float32))
    assert gaussian_sigma(noisy).sigma == pytest.approx(1.5, abs=0.25)


def test_known_noise_is_used(astronaut: Image) -> None:
    rng = np.random.default_rng(3)
    image = convolve(astronaut, gaussian(1.5))
    noisy = quantise(image + rng.normal(0, 0.05, image.shape).astype(np.float32))
    assert gaussian_sigma(noisy, noise=0.05).sigma == pytest.approx(1.5, abs=0.2)
    # Told that the noise is picture, it finds the picture sharper than it is.
    assert gaussian_sigma(noisy, noise=0.0).sigma < 0.8


@pytest.mark.parametrize("quality", [75, 90])
def test_the_error_of_jpeg_is_told_from_sharpness(astronaut: Image, quality: int) -> None:
    assert gaussian_sigma(jpeg(blurred(astronaut, 1.5), quality)).sigma == pytest.approx(1.5, abs=0.25)


def test_float_and_16_bit_pictures(astronaut: Image) -> None:
    image = convolve(astronaut, gaussian(1.2))
    assert gaussian_sigma(image).sigma == pytest.approx(1.2, abs=0.1)
    assert gaussian_sigma(quantise(image, 65535)).sigma == pytest.approx(1.2, abs=0.1)


def test_grey_and_colour_agree(astronaut: Image) -> None:
    grey = quantise(astronaut.mean(axis=2, keepdims=True))
    image = blurred(grey, 1.5)
    assert gaussian_sigma(image).sigma == pytest.approx(
        gaussian_sigma(np.repeat(image, 3, axis=2)).sigma, abs=0.02
    )


def test_white_noise_tells_nothing() -> None:
    noise = np.random.default_rng(1).random((256, 256, 1), dtype=np.float32)
    assert gaussian_sigma(quantise(noise)).confidence < 0.4


def test_small_pictures(astronaut: Image) -> None:
    """32 by 32 pixels, as in CIFAR-10: rough, but no worse than 0.3 px in the middle of ten."""
    small = astronaut.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    tiles = [small[y : y + 32, x : x + 32] for y in (0, 32, 64) for x in (16, 48, 80)]
    read = [gaussian_sigma(blurred(tile, 1.5)).sigma for tile in tiles]
    assert np.median(read) == pytest.approx(1.5, abs=0.15)


@pytest.mark.data
def test_photographs_of_bsds500(data: Path) -> None:
    paths = sorted((data / "bsds500" / "test").glob("*.jpg"))[:40]
    images = [from_array(pyvips.Image.new_from_file(str(path)).numpy()) for path in paths]
    sharp = [gaussian_sigma(image).sigma for image in images]
    assert max(sharp) < 0.45
    for sigma, median, worst in ((0.5, 0.25, 0.5), (1.0, 0.03, 0.15), (2.0, 0.06, 0.25), (3.0, 0.06, 0.35)):
        errors = np.abs([gaussian_sigma(blurred(image, sigma)).sigma - sigma for image in images])
        assert np.median(errors) <= median, sigma
        assert errors.max() <= worst, sigma
