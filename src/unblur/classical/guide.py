"""What a guided network is shown: the picture, a deconvolved candidate, and what is known of noise and blur.

Physics brings back what the kernel tells; the network cleans up what physics leaves behind, and judges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unblur.classical.canvas import Continuation
from unblur.classical.prior import Statistics
from unblur.classical.total_variation import restored_planes
from unblur.image import Image
from unblur.physics.blur import Kernel

CHANNELS = 8
"""Picture, candidate (3 each), noise, spread."""

#: A map has the value 1 at this noise (standard deviation in [0, 1] units) and at this spread (pixels).
_NOISE, _SPREAD = 0.05, 10.0


def guide(
    image: Image,
    kernel: Kernel | None,
    *,
    noise: float,
    border: Continuation = "auto",
    statistics: Statistics | None = None,
    candidate: Image | None = None,
    iterations: int | None = None,
) -> NDArray[np.float32]:
    """The channels that a guided network takes.

    Shape: (H, W, C) in, C 1 or 3, (8, H, W) out; grey is shown as colour. kernel: None where the blur is
    unknown; then the candidate is the picture itself. noise: standard deviation in [0, 1]
    units. border, statistics, iterations: as of total variation, which makes the candidate.
    candidate: where another deconvolution has made it already.
    Raises ImageError, KernelError or OptionError.
    """
    planes = image.transpose(2, 0, 1)
    restored = planes if candidate is None else candidate.transpose(2, 0, 1)
    if kernel is not None and candidate is None:
        restored = restored_planes(
            image, kernel, noise=noise, border=border, statistics=statistics, iterations=iterations
        )
    shown = np.empty((CHANNELS, *image.shape[:2]), np.float32)
    shown[:3], shown[3:6] = planes, restored
    shown[6] = min(noise / _NOISE, 1.0)
    shown[7] = 0.0 if kernel is None else min(spread(kernel) / _SPREAD, 1.0)
    return shown


def spread(kernel: Kernel) -> float:
    """How wide a kernel is: its root mean square distance from its centroid, in pixels."""
    places = np.arange(len(kernel), dtype=np.float64)
    rows, columns = kernel.sum(axis=1, dtype=np.float64), kernel.sum(axis=0, dtype=np.float64)
    variances = (taps @ places**2 - (taps @ places) ** 2 for taps in (rows, columns))
    return float(max(sum(variances), 0.0)) ** 0.5
