"""The standard deviation of a Gaussian blur, from one image and nothing else."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from unblur.estimate.rings import log_evidence, trust
from unblur.estimate.spectrum import Floats, Spectrum, ring_losses, spectrum
from unblur.image import Image
from unblur.physics import kernels

#: The sigmas that are tried, in pixels of the scale that is looked at.
GRID = np.concatenate([np.arange(0, 1, 0.1), np.arange(1, 3, 0.125), np.arange(3, 5.01, 0.25)])

#: Prior weight of each: even per pixel of sigma, and as much for no blur at all as for 0.3 pixels of sigma.
_WEIGHTS = np.gradient(GRID) + 0.3 * (GRID == 0)

#: From the first of these sigmas on, the next coarser scale is looked at; from the second, only that.
_COARSER = (2.0, 2.75)

#: The coarsest scale: 4 original pixels for one.
_COARSEST = 4

#: A sigma too high costs a deconvolution more than one too low: what is unsure beyond the first number (pixels) is
#: taken off, in this proportion.
_SURE, _CAUTION = 0.05, 0.5


class Sigma(NamedTuple):
    """A blind estimate: the standard deviation in pixels, and how sure that is, 0..1."""

    sigma: float
    confidence: float


def gaussian_sigma(image: Image, *, noise: float | None = None) -> Sigma:
    """Standard deviation of the Gaussian blur of an image in pixels, and how sure that is.

    The model is that of `unblur.estimate.rings`. Sigma is its posterior mean, a little less where that is
    unsure. The confidence is the posterior probability that sigma is right to a quarter of a pixel, times how
    usual the picture is. Photographs are unsharp by themselves; that reads as 0. Blurs of more than about 10 pixels
    read too low. `noise`: standard deviation of the noise in [0, 1] units, where it is known.
    """
    found = spectrum(image)
    return Sigma(0.0, 0.0) if found is None else sigma_at(image, found, noise)


def sigma_at(image: Image, found: Spectrum, noise: float | None = None) -> Sigma:
    """`gaussian_sigma` where the spectrum is known already."""
    fine = sigma_of(found, noise)
    share = float(np.clip((fine.sigma - _COARSER[0]) / (_COARSER[1] - _COARSER[0]), 0, 1))
    if share == 0 or found.scale == _COARSEST or (smaller := spectrum(image, 2 * found.scale)) is None:
        return fine
    sigma, confidence = sigma_at(image, smaller, noise)
    return Sigma(
        (1 - share) * fine.sigma + share * 2 * sigma,
        (1 - share) * fine.confidence + share * confidence,
    )


def sigma_of(found: Spectrum, noise: float | None = None) -> Sigma:
    """`gaussian_sigma` from one spectrum alone, in pixels of its scale."""
    evidence = log_evidence(found, log_losses(*found.side), noise)
    chance = np.exp(evidence - evidence.max()) * _WEIGHTS
    chance /= chance.sum()
    mean = float(chance @ GRID)
    spread = float(chance @ np.square(GRID - mean)) ** 0.5
    sigma = max(0.0, mean - _CAUTION * max(0.0, spread - _SURE))
    sure = float(chance[np.abs(GRID - sigma) <= 0.25].sum())
    return Sigma(sigma, sure * trust(found, float(evidence.max())))


@lru_cache(maxsize=8)
def log_losses(rows: int, columns: int) -> Floats:
    """Log of what each sigma leaves of the power of each ring. Shape: (len(GRID), RINGS)."""
    return ring_losses([kernels.gaussian(float(sigma)).astype(np.float64) for sigma in GRID], rows, columns)
