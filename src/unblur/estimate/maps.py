"""Where in a picture how much blur is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unblur.estimate.gaussian import sigma_of
from unblur.estimate.spectrum import Floats, spectrum
from unblur.image import Image

#: Side in pixels of the square that is looked at in each place, and the distance of places in small pictures.
_SQUARE, _CLOSE = 128, 32

#: About this many places are looked at.
_PLACES = 64

#: Confidences are smoothed over this many places, and count at least this much.
_SMOOTHING, _LEAST = 0.7, 1e-3


def blur_map(image: Image) -> NDArray[np.float32]:
    """Local sigma in pixels of the Gaussian blur of an image; up to about 5.

    Shape: (H, W, C) in, (H, W) out. The estimate of `gaussian_sigma` in squares of 128 pixels on a grid,
    averaged by confidence with its neighbours, so that textured places speak for flat ones, and interpolated. 0
    where nothing can be told.
    """
    height, width = image.shape[:2]
    step = max(_CLOSE, (height * width / _PLACES) ** 0.5)
    down, right = _corners(height, step), _corners(width, step)
    sigma, weight = np.zeros((2, len(down), len(right)))
    for y, top in enumerate(down):
        for x, left in enumerate(right):
            found = spectrum(image[top : top + _SQUARE, left : left + _SQUARE])
            if found is not None:
                sigma[y, x], weight[y, x] = sigma_of(found)
    # Far places speak too, but so softly that a near one drowns them.
    near = ndimage.gaussian_filter(weight, _SMOOTHING) + _LEAST * weight.mean()
    value = ndimage.gaussian_filter(weight * sigma, _SMOOTHING) + _LEAST * (weight * sigma).mean()
    local = value / near if weight.any() else sigma
    across = _interpolation(width, right)
    return np.asarray(_interpolation(height, down) @ local @ across.T, np.float32)


def _corners(length: int, step: float) -> NDArray[np.intp]:
    """First pixels of evenly spread squares that cover a side."""
    room = max(0, length - _SQUARE)
    return np.linspace(0, room, 1 + round(room / step)).astype(np.intp)


def _interpolation(length: int, corners: NDArray[np.intp]) -> Floats:
    """Matrix from values at the middles of the squares to pixels. Shape: (length, len(corners))."""
    middles = corners + min(_SQUARE, length) / 2 - 0.5
    return np.stack([np.interp(np.arange(length), middles, one) for one in np.eye(len(corners))], axis=1)
