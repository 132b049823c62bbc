"""The canvas: what lies beyond an image, and how it is told."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical.canvas import ROUNDING_NOISE, find_border, in_strips, irfft, make_canvas, rfft
from unblur.image import quantise
from unblur.physics.convolve import convolve, gaussian_blur
from unblur.physics.kernels import check_kernel, gaussian


def circular(canvas, planes):
    return irfft(rfft(planes) * canvas.transfer, canvas.grid)


@pytest.mark.parametrize("shape", [(32, 32, 3), (20, 27, 1), (1, 30, 1), (2, 3, 3)])
@pytest.mark.parametrize("border", ["reflect101", "reflect"])
def test_a_small_mirrored_image_is_continued_exactly(shape, border, rng):
    """Blurring the continuation of the scene gives the continuation of the blurred image, everywhere."""
    scene, kernel = rng.random(shape, dtype=np.float32), gaussian(2.0)
    sharp = make_canvas(scene, kernel, border, ROUNDING_NOISE)
    blurred = make_canvas(convolve(scene, kernel, border=border), kernel, border, ROUNDING_NOISE)
    assert np.abs(circular(sharp, sharp.planes) - blurred.planes).max() < 2e-6


@pytest.mark.parametrize(("border", "mode"), [("reflect101", "reflect"), ("reflect", "symmetric")])
def test_a_large_image_is_continued_by_its_rule(border, mode, rng):
    scene, kernel = rng.random((200, 210, 1), dtype=np.float32), gaussian(1.0)
    canvas = make_canvas(scene, kernel, border, ROUNDING_NOISE)
    expected = np.pad(scene[:, :, 0], 5, mode=mode)
    wrapped = np.roll(canvas.planes[0], (5, 5), axis=(0, 1))[:210, :220]
    assert np.abs(wrapped - expected).max() < 1e-6
    assert canvas.grid[0] >= 200 + 2 * (4 + 16)


def test_circular_adds_nothing(rng):
    scene = rng.random((17, 23, 3), dtype=np.float32)
    canvas = make_canvas(scene, gaussian(3.0), "circular", ROUNDING_NOISE)
    assert canvas.grid == (17, 23)
    assert np.array_equal(canvas.image(canvas.planes), scene)


def test_an_unknown_border_has_room_for_all_that_is_seen(rng):
    canvas = make_canvas(rng.random((40, 40, 1), dtype=np.float32), gaussian(2.0), "unknown", ROUNDING_NOISE)
    assert not canvas.known
    assert min(canvas.grid) >= 40 + 2 * 8


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("corner", [(0, 0), (100, 200), (250, 150)])
def test_the_border_is_told(sigma, corner, camera, astronaut):
    window = slice(corner[0], corner[0] + 200), slice(corner[1], corner[1] + 220)
    for picture in (camera, astronaut):
        mirrored = quantise(gaussian_blur(np.ascontiguousarray(picture[window]), sigma))
        assert find_border(mirrored, gaussian(sigma), ROUNDING_NOISE) == "reflect101"
        seen = quantise(gaussian_blur(picture, sigma))[20:-20, 20:-20][window]
        assert find_border(seen, gaussian(sigma), ROUNDING_NOISE) == "unknown"


def test_only_a_symmetric_kernel_mirrors(camera):
    picture = np.ascontiguousarray(camera[:200, :200])
    kernel = np.zeros((7, 7), np.float32)
    kernel[1:5, 3] = 1
    kernel = check_kernel(kernel)
    assert find_border(quantise(convolve(picture, kernel)), kernel, ROUNDING_NOISE) == "unknown"


def test_no_evidence_is_no_mirror():
    assert find_border(np.full((50, 50, 1), 0.5, np.float32), gaussian(1.0), ROUNDING_NOISE) == "unknown"


@pytest.mark.parametrize("shape", [(3, 1000, 900), (1, 401, 3000), (3, 5, 7), (1, 1, 1), (3, 3000, 40)])
@pytest.mark.parametrize("arrays", [1, 8, 1000])
def test_strips_cover_every_row_once(shape, arrays):
    planes = np.zeros(shape, np.float32)

    def step(rows):
        planes[:, rows] += 1

    in_strips(step, planes, arrays)
    assert planes.min() == planes.max() == 1
