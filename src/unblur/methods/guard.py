"""Do no harm: where a restored picture cannot be right, the input comes back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unblur.classical.canvas import in_strips
from unblur.estimate.noise import noise_sigma
from unblur.image import Image
from unblur.physics.blur import Blur
from unblur.physics.varying import blur_image
from unblur.threads import spread

#: Side in pixels of the neighbourhood over which the checks average.
CELL = 31

#: A restored neighbourhood, blurred again, may differ from the input by this many standard deviations of the noise ...
RESIDUAL_SIGMAS = 4.0
#: ... or by this much in all, whichever is more: rounding and the regulariser leave that.
RESIDUAL_FLOOR = 2.5 / 255

#: The mean colour of a neighbourhood, restored and blurred again, may be off by this much, or by the noise that is
#: seen: where there is more of it, colours are smoothed, and noise is cut off at black and white.
MEAN_SHIFT = 1.0 / 255

#: A pixel from here on is saturated: of it no restored picture can say what was there.
SATURATED = 254 / 255


class Guarded(NamedTuple):
    """A checked picture, and the share of its pixels that fell back to the input (0..1)."""

    image: Image
    fell_back: float


def guard(image: Image, restored: Image, blur: Blur) -> Guarded:
    """Mix the input back in, smoothly, where the restored picture fails a check.

    The checks: every pixel is finite; blurring the restored picture again gives the input where that is not
    saturated, up to noise, and its mean colours. (The means of the restored picture itself do move at edges: that is
    the deblurring.)
    Shape: (H, W, C) all.
    """
    finite: NDArray[np.bool_] | bool = True
    if not np.isfinite(restored).all():
        finite = np.asarray(np.isfinite(restored).all(axis=2))
        restored = np.where(finite[:, :, None], restored, image)
    blurred = blur_image(np.clip(restored, 0, 1), blur)
    # The residual of each channel, and the mean square of all.
    maps = np.empty((image.shape[2] + 1, *image.shape[:2]), np.float32)

    def compare(rows: slice) -> None:
        residual = blurred[rows] - image[rows]
        residual[image[rows] >= SATURATED] = 0
        maps[:-1, rows] = residual.transpose(2, 0, 1)
        np.einsum("chw,chw->hw", maps[:-1, rows], maps[:-1, rows], out=maps[-1, rows])

    in_strips(compare, maps, 4)
    *means, power = spread(_local_mean, maps)
    rms = np.sqrt(np.maximum(power / image.shape[2], 0))
    shift = np.abs(means[0])
    for mean in means[1:]:
        np.maximum(shift, np.abs(mean), out=shift)
    noise = blur.noise or 0.0
    limit = max(RESIDUAL_SIGMAS * noise, RESIDUAL_FLOOR)
    # Noise that was told from what a kernel leaves unexplained is no licence: the kernel may be wrong.
    most = max(min(noise, noise_sigma(image)), MEAN_SHIFT) if noise > MEAN_SHIFT else MEAN_SHIFT
    # 1 up to the limit, 0 from twice the limit on.
    trust = np.clip(2 - np.maximum(rms / limit, shift / most), 0, 1) * finite
    if trust.min() == 1:
        return Guarded(restored, 0.0)
    # The smallest trust around, smoothed over the same distance, falls off before a bad pixel is reached.
    trust = ndimage.uniform_filter(ndimage.minimum_filter(trust, CELL), CELL)[:, :, None]
    mixed = image + trust * (restored - image)
    return Guarded(mixed.astype(np.float32, copy=False), float((trust < 0.5).mean()))


def _local_mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = ndimage.uniform_filter(plane, CELL, mode="reflect")
    return mean
