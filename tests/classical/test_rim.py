"""What lies beyond the border of a large picture: strips and bands against the whole canvas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import skimage.data

from unblur.classical import total_variation as tv
from unblur.classical.canvas import ROUNDING_NOISE, Canvas, irfft, make_canvas, rfft
from unblur.classical.linear import solve_colours
from unblur.classical.prior import image_statistics, noise_to_signal
from unblur.classical.rim import Rim, has_room, is_near, solve_beyond
from unblur.image import Image, from_array, to_array
from unblur.metrics import psnr
from unblur.physics.blur import Kernel
from unblur.physics.convolve import convolve
from unblur.physics.kernels import gaussian, motion, shake

Prior = Callable[[tuple[int, int]], np.ndarray]


@pytest.fixture(scope="module")
def scene() -> Image:
    """A photograph of 1000x1600, without seams where its pieces meet."""
    piece = skimage.data.astronaut()[:500, :400]
    half = np.concatenate([piece, piece[::-1]])
    return from_array(np.tile(np.concatenate([half, half[:, ::-1]], axis=1), (1, 2, 1)))


def _seen(scene: Image, kernel: Kernel, noise: float = 0.0) -> Image:
    """Blurred, without the border, which depends on what lies beyond; rounded."""
    blurred = convolve(scene, kernel)[20:-20, 20:-20]
    blurred = blurred + noise * np.random.default_rng(0).standard_normal(blurred.shape)
    return from_array(to_array(blurred.clip(0, 1).astype(np.float32), np.uint8))


def _prior(image: Image, kernel: Kernel, noise: float) -> Prior:
    laws = image_statistics(image, kernel, noise=noise).laws
    return lambda grid: (10 * noise_to_signal(laws, noise, grid)).astype(np.float32)


def _canvas(scene: Image, kernel: Kernel, noise: float) -> tuple[Canvas, Prior]:
    image = _seen(scene, kernel, noise)
    noise = max(noise, ROUNDING_NOISE)
    return make_canvas(image, kernel, "unknown", noise), _prior(image, kernel, noise)


@pytest.mark.parametrize(
    ("kernel", "noise", "fits"),
    [(gaussian(2.0), 0.0, True), (gaussian(1.0), 0.01, True), (motion(15.0, 30.0), 0.0, False)],
)
def test_strips_are_for_filters_that_end_on_them(
    scene: Image, kernel: Kernel, noise: float, fits: bool
) -> None:
    canvas, prior = _canvas(scene, kernel, noise)
    assert (has_room(canvas) and is_near(canvas, prior)) is fits


def test_small_pictures_have_no_room(scene: Image) -> None:
    assert not has_room(_canvas(scene[:400, :400], gaussian(2.0), 0.0)[0])


def test_bands_blur_and_correlate_as_the_whole_canvas_does(scene: Image, rng: np.random.Generator) -> None:
    canvas, _ = _canvas(scene[:700, :500], shake(15, rng), 0.0)
    beyond = np.zeros(canvas.grid, np.float32)
    for rows, columns in canvas.unseen:
        beyond[rows, columns] = 1
    planes = rng.random((2, *canvas.grid), dtype=np.float32)
    rim = Rim(canvas)
    rim.follow(planes)
    pulled = np.zeros_like(planes)
    rim.pull(pulled)
    blurred = beyond * irfft(rfft(planes) * canvas.transfer, canvas.grid)
    np.testing.assert_allclose(pulled, irfft(rfft(blurred) * canvas.transfer.conj(), canvas.grid), atol=2e-6)


def test_strips_find_what_the_whole_canvas_finds(scene: Image) -> None:
    canvas, prior = _canvas(scene, gaussian(1.5), 0.0)
    whole = irfft(solve_colours(canvas, canvas.planes, prior(canvas.grid), 20, 3), canvas.grid)
    strips = irfft(solve_beyond(canvas, canvas.planes, prior, 20, 3), canvas.grid)
    high, wide = canvas.size
    difference = np.abs(whole - strips)[:, :high, :wide]
    assert difference[:, 40:-40, 40:-40].max() < 0.02 / 255
    assert np.sqrt(np.square(difference).mean()) < 0.2 / 255


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_restored_picture_is_as_good(scene: Image, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = gaussian(2.0)
    image, sharp = _seen(scene, kernel, noise), scene[20:-20, 20:-20]
    quick = tv.total_variation(image, kernel, noise=noise or None, border="unknown")
    monkeypatch.setattr(tv, "has_room", lambda *_: False)
    whole = tv.total_variation(image, kernel, noise=noise or None, border="unknown")
    assert np.abs(quick - whole).max() > 0
    assert psnr(sharp, quick, data_range=1) > psnr(sharp, whole, data_range=1) - 0.15
