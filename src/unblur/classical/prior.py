"""What natural images look like to the solvers: decorrelated colours, and a power law for each."""

from __future__ import annotations

import math
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.classical.canvas import Canvas, Planes, in_strips, make_canvas, noise_level, power, rfft
from unblur.errors import OptionError
from unblur.image import Image
from unblur.physics.blur import Kernel

#: Where the power law is read, in rings of cycles per pixel: below, a single structure decides; 0.71 is the corner.
_LOWEST, _HIGHEST, _RINGS = 0.01, 0.75, 24

#: A ring of fewer terms is too rough to count, and a slope is read from no fewer rings.
_FEWEST_TERMS, _FEWEST_RINGS = 8, 4

#: The mean exponent of natural images, where there is too little to read one from.
_EXPONENT = 2.3

#: A ring counts while its power is this many times that of the noise, and the blur has let this much through:
#: further out, what the canvas' seams leak is more than what is left of the scene.
_AUDIBLE, _PASSED = 4.0, 0.005

#: Power density at one cycle per pixel of an image of variance 1, where no ring counts.
_FLATTEST = 1e-2


#: A colour has edges of its own if it has this share of the first one's power, at a frequency in cycles per pixel. In
#: photographs the second has 0.01 to 0.07.
_EDGED, _EDGES = 0.1, 0.1


class PowerLaw(NamedTuple):
    """Power density of a plane at frequency f (cycles per pixel): scale * f ** -exponent."""

    scale: float
    exponent: float


class Statistics(NamedTuple):
    """What a solver has to know about an image: its tiles share it, to come out as the whole would.

    rotation: to decorrelated colours, (C, C). laws: the power law of each of them.
    """

    rotation: NDArray[np.float64]
    laws: tuple[PowerLaw, ...]


def image_statistics(image: Image, kernel: Kernel, *, noise: float | None = None) -> Statistics:
    """The statistics of the sharp image behind a blurred one; of a large image, a crop of it will do.

    Shape: (H, W, C). `noise`: standard deviation in [0, 1] units, rounding to 8 bits where not given.
    Raises ImageError, KernelError or OptionError.
    """
    noise = noise_level(noise)
    return measure(make_canvas(image, kernel, "auto", noise), noise)


def measure(canvas: Canvas, noise: float) -> Statistics:
    """The statistics of the sharp image behind the one on a canvas."""
    rotation = decorrelate(canvas.planes)
    return Statistics(rotation, tuple(fit_power_laws(canvas, rotate(rotation, canvas.planes), noise)))


def decorrelate(planes: Planes) -> NDArray[np.float64]:
    """The rotation of colour space that makes the gradients of the channels uncorrelated, strongest first.

    Shape: (C, H, W) in, (C, C) out; orthonormal rows, so white noise stays white. Most of a photograph is
    in the first component, and the others can be restored from far fewer frequencies.
    """
    channels = planes.shape[0]
    gradients = [np.diff(planes, axis=axis).reshape(channels, -1) for axis in (1, 2)]
    covariance = sum(np.asarray(g @ g.T, np.float64) for g in gradients)
    rotation: NDArray[np.float64] = np.linalg.eigh(covariance)[1].T[::-1]
    return rotation


def count_edged(laws: tuple[PowerLaw, ...]) -> int:
    """How many of the decorrelated colours, the strongest, have strong edges; the others are smooth."""
    powers = [law.scale * _EDGES**-law.exponent for law in laws]
    return sum(1 for _ in takewhile(lambda one: one >= _EDGED * powers[0], powers))


def rotate(rotation: NDArray[np.float64], planes: Planes, out: Planes | None = None) -> Planes:
    """Planes (C, H, W) in the colour space of `rotation`; out: where to put them, which may be the planes themselves.

    Raises OptionError for another number of colours.
    """
    if len(rotation) != len(planes):
        raise OptionError(f"statistics of {len(rotation)} colours do not fit an image of {len(planes)}")
    turned = np.empty_like(planes) if out is None else out
    weights = rotation.astype(planes.dtype)

    def turn(rows: slice) -> None:
        strip = planes[:, rows]
        mixed = np.empty_like(strip)
        for one, row in zip(mixed, weights, strict=True):
            np.multiply(strip[0], row[0], out=one)
            for plane, weight in zip(strip[1:], row[1:], strict=True):
                one += weight * plane
        turned[:, rows] = mixed

    in_strips(turn, planes, 3)
    return turned


def frequencies(grid: tuple[int, int]) -> NDArray[np.float64]:
    """Radial frequency of each term of a real FFT, in cycles per pixel. Shape: (H, W // 2 + 1)."""
    return np.hypot(scipy.fft.fftfreq(grid[0])[:, None], scipy.fft.rfftfreq(grid[1]))


def fit_power_laws(canvas: Canvas, planes: Planes, noise: float) -> list[PowerLaw]:
    """The power law of the sharp image behind each blurred plane.

    planes: (C, H', W') on the canvas. Reads the rings of frequencies where the blur has left more than noise,
    and divides the blur out. Field, "Relations between the statistics of natural images" (1987).
    """
    pixels = planes[0].size
    f = frequencies(canvas.grid)
    edges = np.geomspace(_LOWEST, _HIGHEST, _RINGS + 1)
    ring = np.digitize(f, edges).ravel()  # 0 is below the first edge
    terms = np.bincount(ring, minlength=_RINGS + 2)[1 : _RINGS + 1]
    full = terms >= _FEWEST_TERMS

    def means(values: NDArray[Any]) -> NDArray[np.float64]:
        sums = np.bincount(ring, values.ravel(), _RINGS + 2)[1 : _RINGS + 1]
        mean: NDArray[np.float64] = sums[full] / terms[full]
        return mean

    passed, middle = means(power(canvas.transfer)), np.log(means(f))
    laws = []
    for plane in planes:
        seen = means(power(rfft(plane))) / pixels
        clear = (seen > _AUDIBLE * noise**2) & (passed > _PASSED)
        if not clear.any():
            laws.append(PowerLaw(max(float(plane.var()), noise**2) * _FLATTEST, _EXPONENT))
            continue
        sharp = np.log((seen[clear] - noise**2) / passed[clear])
        if clear.sum() >= _FEWEST_RINGS:
            exponent = float(np.clip(-np.polyfit(middle[clear], sharp, 1)[0], 1.0, 5.0))
        else:
            exponent = _EXPONENT
        level = float((sharp + exponent * middle[clear]).mean())
        laws.append(PowerLaw(math.exp(level), exponent))
    return laws


def half_weights(grid: tuple[int, int]) -> NDArray[np.float32]:
    """How often each column of a real FFT stands for in the whole spectrum. Shape: (W // 2 + 1,)."""
    weights = np.full(grid[1] // 2 + 1, 2, np.float32)
    weights[0] = 1
    if grid[1] % 2 == 0:
        weights[-1] = 1
    return weights


def gradient_power(grid: tuple[int, int]) -> NDArray[np.float32]:
    """Squared magnitude of the forward differences at each frequency; its square is the Laplacian's.

    Shape: (H, W // 2 + 1).
    """
    # As squares of sines, which float32 holds to its last digit also where they are small.
    down, right = (
        np.square(2 * np.sin(np.pi * f)).astype(np.float32)
        for f in (scipy.fft.fftfreq(grid[0])[:, None], scipy.fft.rfftfreq(grid[1]))
    )
    total: NDArray[np.float32] = down + right
    return total


def expected_energy(
    ratio: NDArray[np.floating[Any]], passed: NDArray[np.float32], grid: tuple[int, int]
) -> NDArray[np.float64]:
    """Mean square of each sharp plane under a filter, in units of the noise's.

    ratio: noise to signal, (C, H, W // 2 + 1). passed: the filter's squared magnitude, without a mean.
    Shape of the result: (C, 1, 1).
    """
    signal = np.divide(passed, ratio, out=np.zeros(ratio.shape, np.float32), where=ratio > 0)
    sums = (signal @ half_weights(grid)).sum(axis=1, dtype=np.float64) / (grid[0] * grid[1])
    energy: NDArray[np.float64] = np.maximum(sums, np.finfo(np.float32).tiny)[:, None, None]
    return energy


def noise_to_signal(laws: tuple[PowerLaw, ...], noise: float, grid: tuple[int, int]) -> NDArray[np.float32]:
    """Noise power over signal power of each plane at each frequency; 0 at 0, so the mean is never in doubt.

    Shape: (C, H, W // 2 + 1) for `grid` (H, W).
    """
    with np.errstate(divide="ignore"):
        octaves = np.log2(frequencies(grid).astype(np.float32))
    ratio = np.empty((len(laws), *octaves.shape), np.float32)

    def fill(rows: slice) -> None:
        for plane, law in zip(ratio[:, rows], laws, strict=True):
            np.multiply(octaves[rows], np.float32(law.exponent), out=plane)
            plane += np.float32(math.log2(noise**2 / law.scale))
            np.exp2(plane, out=plane)

    in_strips(fill, ratio, 2)
    return ratio
