"""The standard deviation of a Gaussian blur, from one image and nothing else."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from unblur.estimate.rings import log_evidence
from unblur.estimate.spectrum import Floats, Spectrum, ring_losses, spectrum
from unblur.image import Image
from unblur.physics.kernels import gaussian

#: The sigmas that are tried, in pixels.
GRID = np.concatenate([np.arange(0, 1, 0.1), np.arange(1, 3, 0.125), np.arange(3, 5.01, 0.25)])

#: From the first of these sigmas on, the picture is looked at in half its size; from the second, only so.
_HALF_SIZE = (2.0, 2.75)


def gaussian_sigma(image: Image, *, noise: float | None = None) -> tuple[float, float]:
    """Standard deviation of the Gaussian blur of an image in pixels, and how sure that is (0..1).

    The model is that of `unblur.estimate.rings`: sigma is its posterior mean, and the confidence is the
    posterior probability that sigma is right to a quarter of a pixel. Photographs are unsharp by themselves;
    that reads as 0. `noise`: standard deviation of the noise in [0, 1] units, where it is known.
    """
    found = spectrum(image)
    if found is None:
        return 0.0, 0.0
    sigma, confidence = sigma_of(found, noise)
    share = float(np.clip((sigma - _HALF_SIZE[0]) / (_HALF_SIZE[1] - _HALF_SIZE[0]), 0, 1))
    if share == 0 or (small := spectrum(image, 2)) is None:
        return sigma, confidence
    half, half_confidence = sigma_of(small, noise)
    return (1 - share) * sigma + share * 2 * half, (1 - share) * confidence + share * half_confidence


def sigma_of(found: Spectrum, noise: float | None = None) -> tuple[float, float]:
    """`gaussian_sigma` from a spectrum alone."""
    evidence = log_evidence(found, _log_losses(*found.side), noise)
    chance = np.exp(evidence - evidence.max()) * np.gradient(GRID)
    chance /= chance.sum()
    sigma = float(chance @ GRID)
    return sigma, float(chance[np.abs(GRID - sigma) <= 0.25].sum())


@lru_cache(maxsize=8)
def _log_losses(rows: int, columns: int) -> Floats:
    """Log of what each sigma leaves of the power of each ring. Shape: (len(GRID), RINGS)."""
    return ring_losses([gaussian(float(sigma)).astype(np.float64) for sigma in GRID], rows, columns)
