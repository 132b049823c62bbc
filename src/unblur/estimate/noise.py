"""How noisy a picture is, and how noisy it is to be taken for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unblur.estimate.fit import noise_under, periodogram
from unblur.estimate.jpeg import Jpeg, jpeg
from unblur.image import Image
from unblur.physics.blur import Kernel
from unblur.threads import spread

#: Side of a cell in pixels, and which quantile of the cells decides.
_CELL, _FLATTEST = 16, 0.1

#: JPEG's error is to be reckoned with as white noise of so many times its standard deviation: it sits where the
#: picture is, and follows it. Restores best over qualities of 60 to 90 and Gaussian blurs of 1.5 and 3 pixels.
_UNEVEN = 1.5

#: Compression at a high quality keeps the coarser half of a picture's noise, which the mask hardly sees: so many times
#: what it sees is there, in the median over qualities of 95 and noise of 0.003 to 0.02.
_KEPT = 2.0

#: The spectrum may say that there is so many times more noise, up to the second number; beyond, it is a slope of the
#: picture, or of JPEG's error, that is taken for noise.
_MORE, _MOST = 3.0, 0.02

#: With so many times more, and no JPEG, it is the kernel that is wrong. Reckoned as noise, that would pass for a good
#: restoration where the result is checked.
_UNEXPLAINED = 4.0

#: Noise does not show where the picture is clipped: cells with more than this share of black or white pixels do not
#: count, as long as this share of the cells is left.
_CLIPPED, _LEFT = 0.1, 0.1

#: That quantile of pure white noise of standard deviation 1.
_WHITE = 0.893


def noise_sigma(image: Image) -> float:
    """Standard deviation of the noise of an image, in [0, 1] units; the mean over the channels.

    The picture is high-passed by the mask of Immerkaer (1996), which no plane survives, and the mean absolute
    value is taken in each cell of 16 by 16 pixels: the flattest tenth of the cells decides, apart from those that are
    clipped. Fine texture that covers a whole picture counts as noise, and the rounding of the file does, too. A
    picture under 5 pixels on a side has noise 0.
    """
    height, width, channels = image.shape
    if min(height, width) < 5:
        return 0.0
    rows, columns = _middle(height), _middle(width)
    return float(np.mean(spread(_plane_noise, [image[rows, columns, c] for c in range(channels)])))


class Seen(NamedTuple):
    """What a picture's pixels show: noise, as a standard deviation in [0, 1] units, and JPEG, None for no trace."""

    noise: float
    jpeg: Jpeg | None


def look(image: Image) -> Seen:
    """The noise and the JPEG compression of an image."""
    return Seen(noise_sigma(image), jpeg(image))


def noise_level(
    image: Image, kernel: Kernel | None = None, under: float | None = None, seen: Seen | None = None
) -> float:
    """The standard deviation that a deconvolution should reckon with, in [0, 1] units: `noise_sigma`, or JPEG's.

    What JPEG leaves behind is no noise where the picture is flat, and more than noise where it is not. kernel: what
    the picture was blurred by, where that is known; the noise then is at least what stands in the spectrum where the
    blur has taken the picture away. under: that, where it is known. seen: `look`, where it was done.
    """
    sigma, found = look(image) if seen is None else seen
    level = max(_KEPT * sigma, _UNEVEN * found.noise) if found else sigma
    if under is None:
        if kernel is None or (fine := periodogram(image)) is None:
            return level
        under = noise_under(fine, kernel)
    if found is None and under > _UNEXPLAINED * level:
        return level
    return max(level, min(under, _MORE * level, _MOST))


def _middle(length: int, most: int = 1024) -> slice:
    start = max(0, (length - most) // 2)
    return slice(start, start + most)


def _plane_noise(plane: NDArray[np.float32]) -> float:
    across = plane[:, :-2] - 2 * plane[:, 1:-1] + plane[:, 2:]
    residual = (across[:-2] - 2 * across[1:-1] + across[2:]) / 6
    clipped = (plane[1:-1, 1:-1] <= 0) | (plane[1:-1, 1:-1] >= 1)
    sigmas = _cell_means(np.abs(residual)) * (np.pi / 2) ** 0.5
    shown = _cell_means(clipped) <= _CLIPPED
    return float(np.quantile(sigmas[shown] if shown.mean() > _LEFT else sigmas, _FLATTEST)) / _WHITE


def _cell_means(plane: NDArray[np.float32] | NDArray[np.bool_]) -> NDArray[np.floating]:
    """Means over cells of 16 by 16 pixels or a few more. Shape: (H, W) in, (down, right) out."""
    down, right = max(1, plane.shape[0] // _CELL), max(1, plane.shape[1] // _CELL)
    height, width = plane.shape[0] // down, plane.shape[1] // right
    return plane[: down * height, : right * width].reshape(down, height, right, width).mean(axis=(1, 3))
