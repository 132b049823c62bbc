"""The Wiener filter against its formula, and the linear problem of an unknown border against a direct solver."""

from __future__ import annotations

import numpy as np
import pytest

from unblur.classical.canvas import ROUNDING_NOISE, irfft, make_canvas
from unblur.classical.linear import solve_linear
from unblur.classical.wiener import wiener
from unblur.errors import OptionError
from unblur.metrics import psnr
from unblur.physics.convolve import convolve, otf
from unblur.physics.kernels import gaussian


@pytest.mark.parametrize("prior", ["flat", "laplacian"])
@pytest.mark.parametrize("balance", [1e-4, 1e-2])
def test_the_formula(prior, balance, portrait, kernel):
    image = convolve(portrait, kernel, border="circular")
    restored = wiener(image, kernel, border="circular", prior=prior, balance=balance)
    transfer = otf(kernel, image.shape[:2], np.float64)
    laplacian = np.zeros(image.shape[:2])
    laplacian[[0, 0, 0, 1, -1], [0, 1, -1, 0, 0]] = -4, 1, 1, 1, 1
    power = np.abs(np.fft.rfft2(laplacian)) ** 2 if prior == "laplacian" else np.ones(transfer.shape)
    power[0, 0] = 0  # the mean is kept
    spectrum = np.fft.rfft2(image.astype(np.float64), axes=(0, 1))
    gain = transfer.conj() / (np.abs(transfer) ** 2 + balance * power)
    expected = np.fft.irfft2(spectrum * gain[:, :, None], image.shape[:2], axes=(0, 1))
    assert np.abs(restored - np.clip(expected, 0, 1)).max() < 1e-4


def test_without_noise_it_is_the_inverse(portrait):
    """In float32 the rounding of the image is the noise; double precision within finds all that is left."""
    image = convolve(portrait, gaussian(1.0), border="circular")
    restored = wiener(image, gaussian(1.0), noise=1e-7, border="circular")
    assert psnr(restored, portrait, data_range=1) > 80


@pytest.mark.parametrize("prior", ["power-law", "laplacian", "flat"])
def test_every_prior_restores_by_itself(prior, portrait, blurred, kernel):
    restored = wiener(blurred, kernel, prior=prior)
    assert psnr(restored, portrait, data_range=1) > psnr(blurred, portrait, data_range=1) + 3


def test_the_power_law_is_the_best_prior(portrait, blurred, kernel):
    scores = {
        p: psnr(wiener(blurred, kernel, prior=p), portrait, data_range=1) for p in ("power-law", "flat")
    }
    assert scores["power-law"] > scores["flat"] + 0.3


def test_an_unknown_border_is_least_squares(rng):
    """It satisfies the normal equations, so nearly that the minimum itself cannot be further than 1e-6."""
    kernel, image = gaussian(1.0), rng.random((7, 8, 1), dtype=np.float32)
    canvas = make_canvas(image, kernel, "unknown", ROUNDING_NOISE, np.float64)
    high, wide = canvas.grid
    ratio = 0.01 * (1 + rng.random((1, high, wide // 2 + 1)))
    ratio += ratio[:, -np.arange(high) % high]  # of a real filter

    def apply(plane):
        blurred = np.fft.irfft2(canvas.transfer * np.fft.rfft2(plane), canvas.grid)
        blurred[7:], blurred[:, 8:] = 0, 0
        back = np.fft.irfft2(canvas.transfer.conj() * np.fft.rfft2(blurred), canvas.grid)
        return back + np.fft.irfft2(ratio[0] * np.fft.rfft2(plane), canvas.grid)

    seen = np.zeros(canvas.grid)
    seen[:7, :8] = image[:, :, 0]
    right = np.fft.irfft2(canvas.transfer.conj() * np.fft.rfft2(seen), canvas.grid)
    found = irfft(solve_linear(canvas, canvas.planes, ratio, 6000), canvas.grid)[0]
    # The least eigenvalue of the normal matrix is at least that of the prior.
    assert np.linalg.norm(apply(found) - right) < 1e-6 * ratio.min()


def test_options_out_of_range(portrait, kernel):
    with pytest.raises(OptionError, match="prior"):
        wiener(portrait, kernel, prior="cubic")
    with pytest.raises(OptionError, match="balance"):
        wiener(portrait, kernel, balance=0.1)
    with pytest.raises(OptionError, match="balance"):
        wiener(portrait, kernel, prior="flat", balance=0.0)
