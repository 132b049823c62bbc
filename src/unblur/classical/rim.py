"""What lies beyond the border of a large picture: found on strips along it, and followed there alone.

What lies beyond depends on little of the image: it is enough to invert the blur on strips of the canvas that hold it
and some of the image on either side, and in an iteration, to blur the restored picture of the moment there, which
takes transforms of those strips.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import scipy.fft

from unblur.classical.canvas import REACH, Canvas, Planes, Spectrum, extended, irfft, rfft
from unblur.classical.linear import filter_linear, solve_colours
from unblur.physics.convolve import otf

Prior: TypeAlias = Callable[[tuple[int, int]], Planes]

#: Pixels of the image on either side that are looked at, besides two radii of the kernel.
_SEEN = 8

#: An inverse filter is short if it reaches no further than two radii and this.
_SHORT = 32

#: Strips that hold more than this share of the canvas are not worth it.
_WORTH = 0.6

#: An inverse filter with more than this share of its root energy beyond that does not fit on strips: those
#: of lines, and of some disks and shakes, have 0.1 to 0.5 without noise, and lose up to five decibels; Gaussians none.
_FAR, _TRIAL = 0.1, 256


def has_room(canvas: Canvas) -> bool:
    """Whether strips along the borders are clearly less than the canvas."""
    margin, seen = _margins(canvas)
    if min(canvas.size) < 2 * seen:
        return False
    high, wide = canvas.grid
    down, right = (n - m + 2 * (seen + margin) for n, m in zip(canvas.grid, canvas.size, strict=True))
    return down * wide + right * high < _WORTH * high * wide


def is_near(canvas: Canvas, prior: Prior) -> bool:
    """Whether the inverse filter is as short as strips along the borders ask for.

    prior: noise to signal on a grid, (H', W') to (C, H', W' // 2 + 1).
    """
    return _beyond(canvas, prior, 2 * (len(canvas.kernel) // 2) + _SHORT) < _FAR


def _beyond(canvas: Canvas, prior: Prior, distance: int) -> float:
    """The share of the inverse filter that lies further than a distance from its centre."""
    side = scipy.fft.next_fast_len(max(_TRIAL, 4 * distance), real=True)
    transfer = otf(canvas.kernel, (side, side))
    power = np.square(np.abs(transfer)) + prior((side, side))[0]
    weight = np.square(
        irfft((transfer.conj() / np.maximum(power, np.finfo(np.float32).tiny))[None], (side, side))[0]
    )
    near = np.abs(scipy.fft.fftfreq(side, 1 / side)) <= distance
    return float(np.sqrt(max(1 - weight[np.ix_(near, near)].sum() / weight.sum(), 0)))


def solve_beyond(canvas: Canvas, planes: Planes, prior: Prior, steps: int, edged: int) -> Spectrum:
    """As `solve_colours`, but what lies beyond the image is solved for on strips, and the rest by a division.

    planes: changed there.
    prior: noise to signal on a grid, (H', W') to (C, H', W' // 2 + 1).
    """
    return filter_linear(canvas, fill_beyond(canvas, planes, prior, steps, edged), prior(canvas.grid))


def fill_beyond(canvas: Canvas, planes: Planes, prior: Prior, steps: int, edged: int) -> Planes:
    """The planes, changed to what blurring would have given beyond the image, as solved for on strips. Shape: kept.

    prior: noise to signal on a grid, (H', W') to (C, H', W' // 2 + 1).
    """
    for axis in (0, 1):
        strip, beyond = _strip(canvas, planes, axis)
        spectrum = solve_colours(strip, strip.planes, prior(strip.grid), steps, edged, near=True)
        spectrum *= strip.transfer
        found = np.moveaxis(irfft(spectrum, strip.grid), axis + 1, 0)[beyond]
        np.moveaxis(planes, axis + 1, 0)[canvas.size[axis] :] = found
    return planes


def _strip(canvas: Canvas, planes: Planes, axis: int) -> tuple[Canvas, slice]:
    """A canvas of image, what lies beyond, image, and a gap that closes the period; and where beyond is on it."""
    margin, seen = _margins(canvas)
    size, side = canvas.size[axis], canvas.grid[axis]
    shown = np.take(planes, np.r_[size - seen : side, 0:seen], axis=axis + 1)
    held = shown.shape[axis + 1]
    shown = extended(shown, axis + 1, margin, "reflect101")
    beyond, everything = slice(seen, held - seen), slice(None)
    unseen = [
        (beyond, everything),
        (slice(held, None), everything),
        (everything, slice(canvas.size[1 - axis], None)),
    ]
    grid = (shown.shape[1], shown.shape[2])
    transfer = otf(canvas.kernel, grid, shown.dtype)
    mine = tuple(one if axis == 0 else one[::-1] for one in unseen)
    return Canvas(shown, grid, canvas.kernel, transfer, mine), beyond


class Rim:
    """Blurring beyond the image alone: what the restored picture of the moment gives there is taken for data.

    From turn to turn it moves on with momentum.
    """

    def __init__(self, canvas: Canvas) -> None:
        self.bands = [_Band(canvas, axis) for axis in (0, 1)]
        self.before: list[Planes] = []
        self.data: list[Planes] = []
        self.turn = 0

    def follow(self, planes: Planes) -> None:
        """Blur restored planes beyond the image. Shape: (C, H', W')."""
        found = [band.blurred(planes) for band in self.bands]
        pace = np.float32(max(self.turn - 1, 0) / (self.turn + 2))
        before = self.before or found
        self.data = [now + pace * (now - then) for now, then in zip(found, before, strict=True)]
        self.before = found
        self.turn += 1

    def pull(self, planes: Planes) -> None:
        """Add to planes what the data beyond the image pull the restored picture towards. Shape: (C, H', W')."""
        for band, data in zip(self.bands, self.data, strict=True):
            band.add_correlated(planes, data)


class _Band:
    """What lies beyond the image at the end of an axis, with a radius of the kernel on either side."""

    def __init__(self, canvas: Canvas, axis: int) -> None:
        self.axis, self.radius = axis, len(canvas.kernel) // 2
        self.size, self.side = canvas.size[axis], canvas.grid[axis]
        length = scipy.fft.next_fast_len(self.side - self.size + 2 * self.radius, real=True)
        self.grid = (length, canvas.grid[1]) if axis == 0 else (canvas.grid[0], length)
        self.transfer = otf(canvas.kernel, self.grid, canvas.planes.dtype)
        beyond = slice(self.radius, self.radius + self.side - self.size)
        # The corner is the first axis' part.
        self.beyond = (slice(None), beyond) if axis == 0 else (slice(None), slice(canvas.size[0]), beyond)

    def blurred(self, planes: Planes) -> Planes:
        """Shape: (C, H', W') in, what lies beyond out."""
        window = np.zeros((len(planes), *self.grid), planes.dtype)
        near, far = self._ends(window)
        near[:], far[:] = self._ends_of_canvas(planes)
        spectrum = rfft(window)
        spectrum *= self.transfer
        return irfft(spectrum, self.grid)[self.beyond].copy()

    def add_correlated(self, planes: Planes, data: Planes) -> None:
        """Add the correlation of what lies beyond with the kernel. Shape: (C, H', W'), what lies beyond."""
        window = np.zeros((len(planes), *self.grid), planes.dtype)
        window[self.beyond] = data
        spectrum = rfft(window)
        spectrum *= self.transfer.conj()
        for part, more in zip(
            self._ends_of_canvas(planes), self._ends(irfft(spectrum, self.grid)), strict=True
        ):
            part += more

    def _ends(self, window: Planes) -> tuple[Planes, Planes]:
        """Views of a window: up to the canvas' end, and from its start on."""
        first = self.side - self.size + self.radius
        along = np.moveaxis(window, self.axis + 1, 0)
        return along[:first], along[first : first + self.radius]

    def _ends_of_canvas(self, planes: Planes) -> tuple[Planes, Planes]:
        along = np.moveaxis(planes, self.axis + 1, 0)
        return along[self.size - self.radius :], along[: self.radius]


def _margins(canvas: Canvas) -> tuple[int, int]:
    """What a strip is continued by, and what it shows of the image on either side."""
    radius = len(canvas.kernel) // 2
    return radius + REACH, 2 * radius + _SEEN
