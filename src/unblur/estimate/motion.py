"""Straight motion: its direction and length, from the stripes that it leaves in the spectrum."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unblur.estimate.spectrum import SIDE, Floats, Spectrum, frequencies, spectrum
from unblur.image import Image

Floats32: TypeAlias = NDArray[np.float32]

#: Lengths in pixels of the scale that is looked at, and directions in degrees, that are tried.
LENGTHS, ANGLES = np.arange(3, 29, 1.0), np.arange(0, 180, 3.0)

#: Motions from here on are looked at in half the size, where their stripes are further apart; down to a quarter.
_LONG, _COARSEST = 12.0, 4

#: The frequencies that are looked at, radians per pixel, in rings of this width. Below, pictures have a direction
#: of their own; above, the square grid has one.
_BAND, _WIDTH = (0.25, 2.8), 0.1

#: Rings within this factor of the quietest one are taken to be noise.
_NOISE_FACTOR = 6.0

#: What a picture that has a direction by itself looks like: a smooth fall along it, of these widths and slopes.
_SMOOTH_LENGTHS, _SMOOTH_SLOPES = np.array([2, 3, 5, 8, 13, 21, 34, 60.0]), (0.35, 0.7, 1.0)

#: Variance of the log power (nepers squared) that a motion explains, and by how much more than any smooth fall:
#: sharp photographs stay under 0.5 or under 0.1.
_EXPLAINED, _STRIPED = 0.8, 0.25

#: Pictures with fewer windows than this have too rough a spectrum.
_FEWEST_WINDOWS = 4


class Motion(NamedTuple):
    """A straight motion: degrees counter-clockwise from +x in 0..180, pixels, and how sure that is, 0..1."""

    angle: float
    length: float
    confidence: float


class _Templates(NamedTuple):
    """Log power that each motion, and each smooth fall, leaves in each cell of the band.

    cells (n,): which of the 64 x 33. ring (n,): the ring of each. mean (n, rings): averages over rings.
    motions (angles * lengths, n), smooth (angles * lengths, n).
    """

    cells: NDArray[np.intp]
    ring: NDArray[np.intp]
    mean: Floats32
    motions: Floats32
    smooth: Floats32


def linear_motion(image: Image) -> Motion | None:
    """The straight motion that explains the spectrum of an image best; None where there is no spectrum.

    A uniform motion multiplies the power by sinc**2 along its direction: dark stripes across it. The mean log
    power of the windows, less its mean over each ring of equal frequency, is compared with that of each motion;
    what it explains of the variance decides. Grass and water have a direction, too, but no stripes: only what is
    explained better than by a smooth fall counts for the confidence.
    """
    found = spectrum(image)
    return None if found is None else motion_of(image, found)


def motion_of(image: Image, found: Spectrum) -> Motion | None:
    """`linear_motion` where the spectrum is known already."""
    if found.windows < _FEWEST_WINDOWS or min(found.side) < SIDE:
        return None
    angle, length, confidence = _best(found)
    if (
        length >= _LONG
        and found.scale < _COARSEST
        and (smaller := spectrum(image, 2 * found.scale)) is not None
    ):
        coarse = motion_of(image, smaller)
        if coarse is not None:
            return coarse
    return Motion(angle, length * found.scale, confidence)


def _best(found: Spectrum) -> Motion:
    known = _templates()
    logs = found.log_power.ravel()[known.cells].astype(np.float32)
    level = logs @ known.mean
    weight = (level > level.min() + np.log(_NOISE_FACTOR))[known.ring].astype(np.float32)
    if not weight.any():
        return Motion(0.0, 0.0, 0.0)
    data = (logs - level[known.ring]) * weight
    noise = level.min() - level

    def explained(models: Floats32, *, noisy: bool = False) -> Floats32:
        """Variance of the data less that of data - model; the noise fills the dark stripes where asked for."""
        mean = models @ known.mean
        if noisy:
            models = np.logaddexp(models, (mean + noise)[:, known.ring])
            mean = models @ known.mean
        centred = (models - mean[:, known.ring]) * weight
        return np.asarray((2 * centred @ data - np.square(centred).sum(axis=1)) / weight.sum())

    table = explained(known.motions).reshape(len(ANGLES), len(LENGTHS))
    row, column = np.unravel_index(int(table.argmax()), table.shape)
    smooth = [slope * known.smooth for slope in _SMOOTH_SLOPES]
    rivals = np.stack([one[explained(one).argmax()] for one in smooth])
    best = float(explained(known.motions[int(table.argmax())][None], noisy=True).max())
    striped = best - max(0.0, float(explained(rivals, noisy=True).max()))
    turn = _peak(table[[row - 1, row, (row + 1) % len(ANGLES)], column])
    stretch = _peak(table[row, column - 1 : column + 2]) if 0 < column < len(LENGTHS) - 1 else 0.0
    return Motion(
        float((ANGLES[row] + turn * (ANGLES[1] - ANGLES[0])) % 180),
        float(LENGTHS[column] + stretch * (LENGTHS[1] - LENGTHS[0])),
        float(np.clip(best / _EXPLAINED, 0, 1) * np.clip(striped / _STRIPED, 0, 1)),
    )


def _peak(three: Floats32) -> float:
    """Where the parabola through three values, the middle one the largest, has its peak: -0.5..0.5 steps."""
    left, middle, right = (float(value) for value in three)
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


@lru_cache(maxsize=1)
def _templates() -> _Templates:
    y, x = (np.broadcast_to(axis, (SIDE, SIDE // 2 + 1)).ravel() for axis in frequencies())
    radius = np.hypot(y, x)
    once = (x > 0) | (y > 0)  # the first column holds each frequency twice
    cells = np.flatnonzero((radius > _BAND[0]) & (radius < _BAND[1]) & once)
    ring = ((radius[cells] - _BAND[0]) / _WIDTH).astype(np.intp)
    member = ring[:, None] == np.arange(ring.max() + 1)
    radians = np.deg2rad(ANGLES)[:, None]
    along = np.abs(np.cos(radians) * x[cells] - np.sin(radians) * y[cells])  # (angles, n), y points down
    grid = np.linspace(0, np.pi * 2**0.5, 512)
    motions = [np.interp(along, grid, np.log(_windowed_sinc(length, grid))) for length in LENGTHS]
    smooth = [-np.log1p(np.square(along * length / 2)) for length in _SMOOTH_LENGTHS]
    return _Templates(
        cells,
        ring,
        (member / member.sum(axis=0)).astype(np.float32),
        np.stack(motions, axis=1).astype(np.float32).reshape(-1, len(cells)),
        np.stack(smooth, axis=1).astype(np.float32).reshape(-1, len(cells)),
    )


def _windowed_sinc(length: float, frequency: Floats) -> Floats:
    """sinc**2 of a line of `length` pixels, smeared by the window. Shape: as `frequency`."""
    taper = np.hanning(SIDE + 1)[:-1]
    overlap = np.correlate(taper, taper, "full") / np.square(taper).sum()
    lag = np.arange(-SIDE, SIDE + 0.1, 0.25)
    line = np.maximum(1 - np.abs(lag) / length, 0) / length
    weight = line * np.interp(lag, np.arange(1 - SIDE, SIDE), overlap)
    return np.asarray(np.maximum(np.cos(np.outer(frequency, lag)) @ weight / 4, 1e-6))
