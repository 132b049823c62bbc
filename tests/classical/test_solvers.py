"""What every row of the table of solvers keeps to."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical import SOLVERS, image_statistics
from unblur.errors import ImageError, KernelError, OptionError
from unblur.image import quantise
from unblur.metrics import psnr
from unblur.physics.convolve import convolve, gaussian_blur
from unblur.physics.kernels import check_kernel, delta, gaussian, motion

#: Least gain in dB at sigma 1.5, rounded to 8 bits, kernel known; a few tenths under what was measured.
GAINS = {"richardson-lucy": 2.9, "wiener": 4.4, "total-variation": 5.3}

every_solver = pytest.mark.parametrize("name", SOLVERS)


@every_solver
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 3), (1, 9, 3), (9, 1, 1), (2, 2, 3), (5, 4, 3), (31, 33, 1), (64, 48, 3)]
)
@pytest.mark.parametrize("border", ["auto", "unknown", "reflect101", "circular"])
def test_every_shape_comes_back(name, shape, border, rng):
    image = rng.random(shape, dtype=np.float32)
    before = image.copy()
    restored = SOLVERS[name].function(image, gaussian(2.0), border=border)
    assert restored.shape == shape
    assert restored.dtype == np.float32
    assert np.isfinite(restored).all()
    assert restored.min() >= 0
    assert restored.max() <= 1
    assert np.array_equal(image, before)


@every_solver
@pytest.mark.parametrize("border", ["auto", "unknown", "reflect101", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_a_constant_stays(name, border, value):
    image = np.full((40, 50, 3), value, np.float32)
    restored = SOLVERS[name].function(image, gaussian(2.0), border=border)
    assert np.abs(restored - image).max() < 1e-4


@every_solver
def test_black_is_no_obstacle(name):
    image = np.zeros((40, 50, 1), np.float32)
    image[20, 25] = 0.5
    restored = SOLVERS[name].function(quantise(gaussian_blur(image, 1.0)), gaussian(1.0))
    assert np.isfinite(restored).all()
    assert np.unravel_index(restored.argmax(), restored.shape) == (20, 25, 0)


@every_solver
def test_it_restores(name, portrait, blurred, kernel):
    restored = SOLVERS[name].function(blurred, kernel)
    gain = psnr(restored, portrait, data_range=1) - psnr(blurred, portrait, data_range=1)
    assert gain > GAINS[name]


@every_solver
def test_nothing_blurred_is_left_alone(name, portrait):
    restored = SOLVERS[name].function(portrait, delta())
    assert psnr(restored, portrait, data_range=1) > 50


@every_solver
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_noise_is_not_blown_up(name, noise, portrait, kernel, rng):
    noisy = gaussian_blur(portrait, 1.5) + np.float32(noise) * rng.standard_normal(portrait.shape, np.float32)
    noisy = quantise(noisy)
    iterations = 4 if name == "richardson-lucy" else None
    restored = SOLVERS[name].function(noisy, kernel, noise=noise, iterations=iterations)
    assert psnr(restored, portrait, data_range=1) > psnr(noisy, portrait, data_range=1) + 0.3


@every_solver
def test_no_frame_rings(name, portrait, photographed, kernel):
    """The border of a photograph is restored nearly as well as its middle, and the middle is not touched by it."""
    band = np.ones(portrait.shape[:2], bool)
    band[10:-10, 10:-10] = False

    def errors(border):
        squared = np.square(SOLVERS[name].function(photographed, kernel, border=border) - portrait).mean(
            axis=2
        )
        return squared[band].mean(), squared[~band].mean()

    at_border, inside = errors("auto")
    assert at_border < 2 * inside
    mirrored, mirrored_inside = errors("reflect101")
    assert at_border < mirrored
    assert inside < mirrored_inside * 1.02


@every_solver
def test_the_border_is_told_from_the_image(name, blurred, photographed, kernel):
    solve = SOLVERS[name].function
    assert np.array_equal(solve(blurred, kernel), solve(blurred, kernel, border="reflect101"))
    assert np.array_equal(solve(photographed, kernel), solve(photographed, kernel, border="unknown"))


@every_solver
@pytest.mark.parametrize("border", ["replicate", "zero"])
def test_a_border_that_leaves_the_outside_open_is_unknown(name, border, photographed, kernel):
    solve = SOLVERS[name].function
    assert np.array_equal(
        solve(photographed, kernel, border=border), solve(photographed, kernel, border="unknown")
    )


@every_solver
def test_a_lopsided_kernel_is_not_turned_round(name, portrait):
    kernel = np.zeros((9, 9), np.float32)
    kernel[1:7, 4], kernel[6, 4:8] = 1, 2
    kernel = check_kernel(kernel)
    image = quantise(convolve(portrait, kernel))
    right, turned = (
        psnr(SOLVERS[name].function(image, k), portrait, data_range=1)
        for k in (kernel, np.ascontiguousarray(kernel[::-1, ::-1]))
    )
    assert right > psnr(image, portrait, data_range=1) + 1
    assert right > turned + 3


@every_solver
def test_more_iterations_are_taken_at_their_word(name, photographed, kernel):
    solve = SOLVERS[name].function
    assert not np.array_equal(
        solve(photographed, kernel, iterations=2), solve(photographed, kernel, iterations=4)
    )


@every_solver
@pytest.mark.parametrize(("blur", "least"), [(gaussian(1.5), 60), (motion(9, 30), 40)])
def test_a_tile_with_its_halo_is_the_whole(name, blur, least, astronaut):
    """With what is measured of an image shared, and nothing extrapolated from one tile alone."""
    image = quantise(convolve(np.ascontiguousarray(astronaut[:300, :300]), blur))
    shared = {"noise": 0.005}
    if name != "richardson-lucy":
        shared["statistics"] = image_statistics(image, blur, noise=0.005)
    plain = {"accelerated": False} if name == "richardson-lucy" else {}
    solve = SOLVERS[name].function
    halo = SOLVERS[name].halo(blur.shape[0], None)
    tile = slice(120 - halo, 180 + halo)
    whole = solve(image, blur, border="unknown", **shared, **plain)[120:180, 120:180]
    alone = solve(np.ascontiguousarray(image[tile, tile]), blur, border="unknown", **shared, **plain)
    assert psnr(alone[halo:-halo, halo:-halo], whole, data_range=1) > least


@every_solver
def test_what_no_solver_takes(name, portrait, kernel):
    solve = SOLVERS[name].function
    with pytest.raises(OptionError, match="iterations"):
        solve(portrait, kernel, iterations=0)
    with pytest.raises(OptionError, match="noise"):
        solve(portrait, kernel, noise=-0.1)
    with pytest.raises(OptionError, match="border"):
        solve(portrait, kernel, border="mirror")
    with pytest.raises(KernelError, match="negative"):
        solve(portrait, -kernel)
    with pytest.raises(ImageError, match="NaN"):
        solve(np.full((4, 4, 1), np.nan, np.float32), kernel)


def test_halo_and_memory_grow_with_what_they_should():
    for solver in SOLVERS.values():
        assert solver.halo(25, None) > solver.halo(5, None) > 5
        assert 50 < solver.bytes_per_pixel < 500
