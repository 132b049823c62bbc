"""The radius of a disk blur: the zeros of its transfer function are rings."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from unblur.estimate import gaussian
from unblur.estimate.rings import log_evidence, trust
from unblur.estimate.spectrum import Floats, Spectrum, ring_losses, spectrum
from unblur.image import Image
from unblur.physics import kernels

#: The radii that are tried, in pixels of the scale that is looked at; a smaller disk is like a Gaussian.
GRID = np.concatenate([np.arange(1.25, 4, 0.25), np.arange(4, 8.1, 0.5)])

#: Radii from here on are looked at in half the size.
_LARGE = 6.0

_COARSEST = 4

#: By so much must a disk explain the rings better than any Gaussian, in log evidence, to be half believed.
_BETTER = 5.0


def disk_radius(image: Image) -> tuple[float, float]:
    """Radius in pixels of the disk that explains the spectrum of an image best, and how sure it is a disk (0..1).

    The confidence weighs the best disk against the best Gaussian, under the model of `unblur.estimate.rings`.
    """
    found = spectrum(image)
    return (0.0, 0.0) if found is None else radius_of(image, found)


def radius_of(image: Image, found: Spectrum) -> tuple[float, float]:
    """`disk_radius` where the spectrum is known already."""
    evidence = log_evidence(found, _log_losses(*found.side))
    best = int(evidence.argmax())
    radius = float(GRID[best])
    if (
        radius >= _LARGE
        and found.scale < _COARSEST
        and (smaller := spectrum(image, 2 * found.scale)) is not None
    ):
        return radius_of(image, smaller)
    rounds = log_evidence(found, gaussian.log_losses(*found.side))
    better = float(evidence[best] - rounds.max())
    if better < 0:
        return radius * found.scale, 0.0
    step = float(GRID[min(best + 1, len(GRID) - 1)] - GRID[max(best - 1, 0)]) / 2
    near = radius + np.linspace(-0.8, 0.8, 9) * step
    finer = log_evidence(found, _losses_of(near, *found.side))
    sure = 1 / (1 + np.exp(_BETTER - better))
    return float(near[finer.argmax()]) * found.scale, float(sure * trust(found, float(finer.max())))


@lru_cache(maxsize=8)
def _log_losses(rows: int, columns: int) -> Floats:
    return _losses_of(GRID, rows, columns)


def _losses_of(radii: Floats, rows: int, columns: int) -> Floats:
    return ring_losses([kernels.disk(float(radius)).astype(np.float64) for radius in radii], rows, columns)
