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

#: Side in pixels of the neighbourhood over which the checks average, and of the cells that they are counted in.
CELL, GRID = 28, 4

_CELLS = CELL // GRID

#: A restored neighbourhood, blurred again, may differ from the input by this many standard deviations of the noise ...
RESIDUAL_SIGMAS = 4.0
#: ... or by this much in all, whichever is more: rounding and the regulariser leave that.
RESIDUAL_FLOOR = 2.5 / 255

#: The mean colour of a neighbourhood, restored and blurred again, may be off by this much, or by the noise that is
#: seen: where there is more of it, colours are smoothed, and noise is cut off at black and white. The kernel of a shake
#: is found pixel by pixel, and nowhere quite right: the second number, which bounds how far all colours may move.
MEAN_SHIFT, MEAN_SHIFT_OF_SHAKE = 1.0 / 255, 1.75 / 255

#: A pixel from here on is saturated: of it no restored picture can say what was there.
SATURATED = 254 / 255

#: A saturated pixel may have been brighter by this much.
GLOW = 0.25


def reach(blur: Blur) -> int:
    """Pixels around a place that its check looks at, a multiple of `GRID`: its mean, and two of trust around it."""
    kernels = [one.kernel for one in (blur, *blur.parts) if one.kernel is not None]
    radius = max((len(kernel) // 2 for kernel in kernels), default=0)
    return -(-(3 * CELL // 2 + GRID + radius) // GRID) * GRID


class Guarded(NamedTuple):
    """A checked picture, and the share of its pixels that fell back to the input (0..1)."""

    image: Image
    fell_back: float


def guard(image: Image, restored: Image, blur: Blur) -> Guarded:
    """Mix the input back in, smoothly, where the restored picture fails a check.

    The checks: every pixel is finite; blurring the restored picture again gives the input where that is not
    saturated, up to noise and to the light that saturated pixels cut off, and its mean colours. (The means of the
    restored picture itself do move at edges: that is the deblurring.)
    Shape: (H, W, C) all.
    """
    finite = None
    if not np.isfinite(restored).all():
        finite = np.asarray(np.isfinite(restored).all(axis=2, keepdims=True))
        restored = np.where(finite, restored, image)
    clipped = np.clip(restored, 0, 1)
    blurred = blur_image(clipped, blur)
    light = _light(clipped, blur)
    height, width, channels = image.shape
    high, wide = -(-height // GRID), -(-width // GRID)
    # Of every few pixels the mean residual of each channel, and the mean square of all.
    maps = np.empty((channels + 1, high, wide), np.float32)

    def compare(rows: slice) -> None:
        seen = slice(GRID * rows.start, GRID * rows.stop)
        residual = blurred[seen] - image[seen]
        residual *= image[seen] < SATURATED
        if light is not None and (here := light[seen]).any():
            # What lacks may be the light of pixels that were brighter than the file can say.
            residual += np.clip(-residual, 0, here)
        maps[:-1, rows] = _means(residual).transpose(2, 0, 1)
        maps[-1, rows] = _means(np.einsum("hwc,hwc->hw", residual, residual)[:, :, None])[:, :, 0]

    in_strips(compare, maps, 4 * GRID**2)
    *means, power = spread(_local_mean, maps)
    rms = np.sqrt(np.maximum(power / channels, 0))
    shift = np.abs(means[0])
    for mean in means[1:]:
        np.maximum(shift, np.abs(mean), out=shift)
    noise = blur.noise or 0.0
    limit = max(RESIDUAL_SIGMAS * noise, RESIDUAL_FLOOR)
    # Noise that was told from what a kernel leaves unexplained is no licence: the kernel may be wrong.
    least = MEAN_SHIFT_OF_SHAKE if blur.kind == "shake" else MEAN_SHIFT
    most = max(min(noise, noise_sigma(image)), least) if noise > least else least
    # 1 up to the limit, 0 from twice the limit on.
    trust = np.clip(2 - np.maximum(rms / limit, shift / most), 0, 1)
    if finite is not None:
        trust *= _means(finite.astype(np.float32))[:, :, 0] == 1
    if trust.min() == 1:
        return Guarded(restored, 0.0)
    # The smallest trust around, smoothed over the same distance, falls off before a bad pixel is reached.
    trust = ndimage.uniform_filter(ndimage.minimum_filter(trust, _CELLS), _CELLS).astype(np.float32)
    down, across = _between(height, high), _between(width, wide)
    mixed = np.empty_like(restored, np.float32)

    def mix(rows: slice) -> None:
        (first, second), share = down[0][:, rows], down[1][rows, None]
        near = trust[first] + share * (trust[second] - trust[first])
        fine = near[:, across[0][0]] + across[1] * (near[:, across[0][1]] - near[:, across[0][0]])
        mixed[rows] = image[rows] + fine[:, :, None] * (restored[rows] - image[rows])

    in_strips(mix, mixed.transpose(2, 0, 1), 4)
    return Guarded(mixed, float((trust < 0.5).mean()))


def _light(restored: Image, blur: Blur) -> NDArray[np.float32] | None:
    """How much brighter the blurred picture may be for light that saturated pixels cut off; None for nowhere."""
    # The last axis is short: one comparison for each channel is several times as fast as `any` along it.
    saturated = np.logical_or.reduce([plane >= SATURATED for plane in np.moveaxis(restored, 2, 0)])
    if not saturated.any():
        return None
    return np.float32(GLOW) * blur_image(saturated[:, :, None].astype(np.float32), blur)


def _means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of every few pixels. Shape: (H, W, C) in; (H / GRID, W / GRID, C), rounded up, out."""
    height, width, channels = values.shape
    down, across = -height % GRID, -width % GRID
    if down or across:
        values = np.pad(values, ((0, down), (0, across), (0, 0)), mode="edge")
    rows = values.reshape(-1, GRID, values.shape[1], channels).sum(axis=1)
    cells = rows.reshape(len(rows), -1, GRID, channels)
    total = cells[:, :, 0].copy()
    for index in range(1, GRID):
        total += cells[:, :, index]
    total *= np.float32(1 / GRID**2)
    return total


def _between(length: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For each pixel the two cells that it lies between, (2, length), and how near it is to the second, (length,)."""
    place = np.clip((np.arange(length) + 0.5) / GRID - 0.5, 0, cells - 1)
    first = np.floor(place).astype(np.intp)
    return np.stack([first, np.minimum(first + 1, cells - 1)]), (place - first).astype(np.float32)


def _local_mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = ndimage.uniform_filter(plane, _CELLS, mode="reflect")
    return mean
