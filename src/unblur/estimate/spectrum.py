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

from unblur.image import INTEGER_MAX, LUMA_WEIGHTS, Image, luma, rounding_noise

Floats: TypeAlias = NDArray[np.float64]

#: Side of the transform in pixels; windows of small pictures are padded with zeros to it.
SIDE = 64

#: A picture with a shorter side has no spectrum to speak of.
SMALLEST_SIDE = 16

#: At most this many windows are transformed, the most textured ones of a regular grid.
MOST_WINDOWS = 320

#: Of a picture with more pixels, squares of the second number of pixels on a side are looked at.
MOST_PIXELS, PART = 1_500_000, 256

#: A picture whose power is below this everywhere is flat.
FLAT = 1e-9

#: Share of the windows that are too weak to count for the mean log power.
_WEAK_SHARE = 0.4

#: Bounds of the rings, radians per pixel; the last two are the corners of the square.
RING_BOUNDS = np.concatenate([np.linspace(2.5 * 2 * np.pi / SIDE, np.pi, 20), [3.5, np.pi * 2**0.5 + 0.01]])

RINGS = len(RING_BOUNDS) - 1

RING_CENTRES = (RING_BOUNDS[:-1] + RING_BOUNDS[1:]) / 2


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Power density of the luma of a picture.

    power: (64, 33), mean over the windows, in squared [0, 1] units per cell: white noise of standard
    deviation n has power n**2. log_power: (64, 33), mean log over the stronger windows. windows: how many.
    floor: the power that rounding to the picture's integer levels adds. noise_gain: power of luma noise for
    each unit of channel noise variance. side: rows and columns of a window. scale: original pixels for each
    pixel that was looked at, along a side.
    """

    power: Floats
    log_power: Floats
    windows: int
    floor: float
    noise_gain: float
    side: tuple[int, int]
    scale: int = 1

    @property
    def rings(self) -> Floats:
        """Power in rings of equal frequency. Shape: (RINGS,)."""
        return ring_average() @ self.power.ravel()

    @property
    def sampling_variance(self) -> Floats:
        """Variance of the log ring powers of a stationary process. Shape: (RINGS,)."""
        # Half-overlapping windows are worth half their number, a Hann window widens each cell to about two by two.
        own = max(1.0, self.windows / 2) * self.side[0] * self.side[1] / SIDE**2 / 4
        return np.asarray(1 / np.maximum(own * ring_cells(), 0.5))


def spectrum(image: Image, scale: int = 1) -> Spectrum | None:
    """The spectrum of an image, or None where it is too small or too flat to have one.

    scale: 2 looks at the means of 2 by 2 pixels, 4 at those of 4 by 4. Of a large picture only the most textured
    parts are looked at.
    """
    planes = [_shrink(luma(part), scale) for part in _parts(image)]
    height, width = planes[0].shape
    side = rows, columns = min(SIDE, height), min(SIDE, width)
    if min(side) < SMALLEST_SIDE:
        return None
    cut = [window_grid(plane, rows, columns).reshape(-1, rows, columns) for plane in planes]
    powers = window_powers(_strongest(np.concatenate(cut)))
    power = powers.mean(axis=0, dtype=np.float64)
    if power.max() < FLAT:
        return None
    strength = powers[:, 2:-2, 2:].mean(axis=(1, 2))
    strong = powers[strength >= np.quantile(strength, _WEAK_SHARE)]
    log_power = np.log(np.maximum(strong, 1e-12)).mean(axis=0, dtype=np.float64)
    floor, gain = noise_floor(image, scale)
    return Spectrum(power, log_power, len(powers), floor, gain, side, scale)


def window_grid(
    plane: NDArray[np.float32], rows: int, columns: int, step: int = SIDE // 2
) -> NDArray[np.float32]:
    """Overlapping windows. Shape: (H, W) to (down, right, rows, columns)."""
    down, right = min(step, max(rows // 2, 1)), min(step, max(columns // 2, 1))
    return sliding_window_view(plane, (rows, columns))[::down, ::right]


def window_powers(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Power density of each window, tapered, without its mean. Shape: (n, rows, columns) to (n, 64, 33)."""
    taper = _taper(*windows.shape[1:])
    centred = windows - np.tensordot(windows, taper / taper.sum(), 2)[:, None, None]
    transform = scipy.fft.rfft2(centred * (taper / np.sqrt(np.square(taper).sum())), (SIDE, SIDE))
    return np.asarray(np.square(transform.real) + np.square(transform.imag))


def noise_floor(image: Image, scale: int = 1) -> tuple[float, float]:
    """Power of the rounding in the luma, and of luma noise for each unit of channel noise variance."""
    grey = image.shape[2] == 1 or bool((image[::7, ::7, :1] == image[::7, ::7]).all())
    gain = (1.0 if grey else float(np.square(LUMA_WEIGHTS).sum())) / scale**2
    return gain * _rounding(image) ** 2, gain


def _parts(image: Image) -> list[Image]:
    """The picture, or the most textured squares of a large one."""
    height, width = image.shape[:2]
    if height * width <= MOST_PIXELS:
        return [image]
    corners = [
        (y, x)
        for y in range(0, max(1, height - PART + 1), PART)
        for x in range(0, max(1, width - PART + 1), PART)
    ]
    thin = max(1, len(corners) // 4096)
    spread = [image[y : y + PART : 8, x : x + PART : 8].std() for y, x in corners[::thin]]
    best = np.sort(np.argsort(spread, kind="stable")[-MOST_PIXELS // PART**2 :])
    return [image[y : y + PART, x : x + PART] for y, x in (corners[thin * k] for k in best)]


def _strongest(windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of too many windows, those with the largest variance."""
    if len(windows) <= MOST_WINDOWS:
        return windows
    spread = windows[:, ::4, ::4].std(axis=(1, 2))
    return windows[np.sort(np.argsort(spread, kind="stable")[-MOST_WINDOWS:])]


def _rounding(image: Image) -> float:
    """Standard deviation of the rounding of a picture that holds whole multiples of 1/255 or 1/65535; or 0."""
    sample = image[:: max(1, image.shape[0] // 64), :: max(1, image.shape[1] // 64)].astype(np.float64)
    for dtype, top in INTEGER_MAX.items():
        if np.abs(sample * top - np.rint(sample * top)).max() < 0.01:
            return rounding_noise(dtype)
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
def ring_cells() -> Floats:
    """How many independent cells a ring has. Shape: (RINGS,)."""
    return np.asarray(1 / np.square(ring_average()).sum(axis=1))


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
