"""The power spectrum of a picture, averaged over windows: what every global estimate here is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from unblur.image import LUMA_WEIGHTS, Image, luma

Floats: TypeAlias = NDArray[np.float64]

#: Side of the transform in pixels; windows of small pictures are padded with zeros to it.
SIDE = 64

#: A picture with a shorter side has no spectrum to speak of.
SMALLEST_SIDE = 16

#: At most this many windows are transformed, the most textured ones of a regular grid.
MOST_WINDOWS = 320

#: Bounds of the rings, radians per pixel; the last two are the corners of the square.
RING_BOUNDS = np.concatenate([np.linspace(2.5 * 2 * np.pi / SIDE, np.pi, 20), [3.5, np.pi * 2**0.5 + 0.01]])

RINGS = len(RING_BOUNDS) - 1

RING_CENTRES = (RING_BOUNDS[:-1] + RING_BOUNDS[1:]) / 2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power density of the luma of a picture.

    power: (64, 33), mean over the windows, in squared [0, 1] units per cell: white noise of standard
    deviation n has power n**2. windows: how many were averaged. floor: the power that rounding to the
    picture's integer levels adds. noise_gain: power of luma noise for each unit of channel noise variance.
    side: rows and columns of a window. scale: original pixels for each pixel that was looked at, along a side.
    """

    power: Floats
    windows: int
    floor: float
    noise_gain: float
    side: tuple[int, int]
    scale: int = 1

    @property
    def rings(self) -> Floats:
        """Power in rings of equal frequency. Shape: (RINGS,)."""
        return ring_average() @ self.power.ravel()


def spectrum(image: Image, scale: int = 1) -> Spectrum | None:
    """The spectrum of an image, or None where it is too small or too flat to have one.

    scale: 2 looks at the means of 2 by 2 pixels, 4 at those of 4 by 4.
    """
    plane = _shrink(luma(image), scale)
    height, width = plane.shape
    rows, columns = min(SIDE, height), min(SIDE, width)
    if min(rows, columns) < SMALLEST_SIDE:
        return None
    windows = _pick(sliding_window_view(plane, (rows, columns)), rows, columns)
    taper = _taper(rows, columns)
    windows = windows - np.tensordot(windows, taper / taper.sum(), 2)[:, None, None]
    transform = scipy.fft.rfft2(windows * (taper / np.sqrt(np.square(taper).sum())), (SIDE, SIDE))
    power = (np.square(transform.real) + np.square(transform.imag)).mean(axis=0, dtype=np.float64)
    if power.max() < 1e-9:
        return None
    grey = image.shape[2] == 1 or bool((image[::7, ::7, :1] == image[::7, ::7]).all())
    gain = 1.0 if grey else float(np.square(LUMA_WEIGHTS).sum())
    gain /= scale**2  # the mean of independent noises
    return Spectrum(power, len(windows), gain * _rounding(image) ** 2, gain, (rows, columns), scale)


def _pick(windows: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Half-overlapping windows of a regular grid; of too many, those with the largest variance."""
    down, right = max(rows // 2, 1), max(columns // 2, 1)
    grid = windows[::down, ::right]
    thin = int(np.ceil((grid.shape[0] * grid.shape[1] / (4 * MOST_WINDOWS)) ** 0.5))
    grid = grid[::thin, ::thin]
    if grid.shape[0] * grid.shape[1] > MOST_WINDOWS:
        spread = grid[:, :, ::4, ::4].std(axis=(2, 3))
        best = np.sort(np.argsort(spread.ravel(), kind="stable")[-MOST_WINDOWS:])
        return grid[np.unravel_index(best, spread.shape)]
    return grid.reshape(-1, rows, columns)


def _rounding(image: Image) -> float:
    """Standard deviation of the rounding of a picture that holds whole multiples of 1/255 or 1/65535; or 0."""
    sample = image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)].astype(np.float64)
    for top in (255, 65535):
        if np.abs(sample * top - np.rint(sample * top)).max() < 0.01:
            return float(1 / (top * 12**0.5))
    return 0.0


@lru_cache(maxsize=8)
def _taper(rows: int, columns: int) -> NDArray[np.float32]:
    return np.outer(np.hanning(rows + 1)[:-1], np.hanning(columns + 1)[:-1]).astype(np.float32)


@lru_cache(maxsize=1)
def frequencies() -> tuple[Floats, Floats]:
    """Frequency of every cell along y and along x, radians per pixel. Shape: (64, 1) and (1, 33)."""
    y, x = np.fft.fftfreq(SIDE), np.fft.rfftfreq(SIDE)
    return np.asarray(2 * np.pi * y[:, None]), np.asarray(2 * np.pi * x[None, :])


@lru_cache(maxsize=1)
def ring_average() -> Floats:
    """The matrix that averages a half spectrum over rings. Shape: (RINGS, 64 * 33)."""
    y, x = frequencies()
    ring = np.digitize(np.hypot(y, x), RING_BOUNDS) - 1
    weight = np.where((x > 0) & (x < np.pi - 1e-9), 2.0, 1.0) * np.ones_like(ring)
    matrix = np.stack([np.where(ring == k, weight, 0).ravel() for k in range(RINGS)])
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True))


def ring_losses(kernels: Sequence[Floats], rows: int, columns: int) -> Floats:
    """Log of what each kernel leaves of the ring powers of a photograph. Shape: (len(kernels), RINGS).

    The leakage of the window is included: a photograph is taken to have the power density |w|**-2.2.
    """
    cells = 2 * SIDE
    y, x = 2 * np.pi * np.fft.fftfreq(cells), 2 * np.pi * np.fft.rfftfreq(cells)
    natural = np.maximum(np.hypot(y[:, None], x), 0.5 * x[1]) ** -2.2
    found = [np.log(ring_average() @ _windowed(natural, rows, columns).ravel())]
    for kernel in kernels:
        transfer = np.square(np.abs(scipy.fft.rfft2(kernel, (cells, cells))))
        found.append(np.log(ring_average() @ _windowed(natural * transfer, rows, columns).ravel()))
    return np.asarray(found[1:]) - found[0]


def _windowed(density: Floats, rows: int, columns: int) -> Floats:
    """What `spectrum` finds on average for a process of a given power density. Shape: (128, 65) to (64, 33)."""
    cells = (2 * SIDE, 2 * SIDE)
    taper = _taper(rows, columns).astype(np.float64)
    overlap = (
        scipy.fft.irfft2(np.square(np.abs(scipy.fft.rfft2(taper, cells))), cells) / np.square(taper).sum()
    )
    found = scipy.fft.rfft2(scipy.fft.irfft2(density, cells) * overlap).real
    return np.asarray(np.maximum(found[::2, ::2], 1e-30))


def _shrink(plane: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    height, width = plane.shape[0] // scale, plane.shape[1] // scale
    cells = plane[: scale * height, : scale * width].reshape(height, scale, width, scale)
    return plane if scale == 1 else cells.mean(axis=(1, 3))
