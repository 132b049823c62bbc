"""The Gaussian blur of a thumbnail, by the likelihood of its cosine transform.

A picture of 32x32 has too few pixels for a mean spectrum. But a scene that was mirrored at its borders before it was
blurred is diagonal in the discrete cosine transform: coefficient k has variance |H_k|^2 S_k + n^2, so that a sigma
can be weighed by what it says of every single one. What a thumbnail's S looks like is known; its level in each
colour, and how steep it is, are fitted along.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.image import Image
from unblur.physics.kernels import SizeRule, gaussian_size, gaussian_taps

Array: TypeAlias = NDArray[np.float64]

#: Sides for which this is meant, in pixels.
SMALLEST, LARGEST = 8, 64

#: What is weighed first, in pixels; then neighbours of the best, closer and closer.
_COARSE = (0.0, *np.arange(0.3, 5.01, 0.2))
_FINER = (0.05, 0.0125)

#: Less noise than this leaves what lies beyond a kernel's cut to be seen, and its size rule and sigma to be told
#: exactly. Such a picture was blurred by a computer, and its sigma was typed, often a multiple of a half. Where that
#: is near and brings back whole numbers of 255ths, it is certain; where too much is lost for that, this much likelier
#: beforehand, as a logarithm.
_QUIET = 1e-5
_EXACT = (0.003, 0.0008)
_ROUND, _NEAR = 100.0, 0.1
_WHOLE = 0.5

#: Log power of photographs reduced to 32x32, times frequency ** 2.6, at equal steps of frequency to sqrt(1/2) cycles
#: a pixel: lightness, red against blue, green against both. `scripts/calibrate_thumbnails.py` prints it.
_POWER = np.array(
    [
        [-8.76, -6.96, -6.73, -6.66, -6.67, -6.72, -6.84, -6.99, -7.21,
         -7.5, -7.76, -8.22, -8.76, -9.17, -9.67, -9.88],
        [-11.73, -9.87, -9.66, -9.63, -9.76, -9.96, -10.22, -10.52, -10.88,
         -11.28, -11.57, -12.2, -12.84, -13.2, -13.47, -13.58],
        [-13.34, -11.21, -11.05, -10.97, -11.02, -11.13, -11.3, -11.53, -11.82,
         -12.22, -12.47, -13.02, -13.53, -13.83, -14.01, -14.05],
    ]
)  # fmt: skip
KNOTS = np.linspace(0, 0.5**0.5, _POWER.shape[1])
SLOPE = 2.6
_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

#: Standard deviations, from picture to picture, of the slope and of the logarithm of the level; slopes that are tried.
_SLOPE_SPREAD, _LEVEL_SPREAD = 0.35, 1.5
_TILTS = np.array([-0.6, -0.3, 0.0, 0.3, 0.6])
_LEVEL = slice(2, 3)

#: Frequencies that every blur that can be taken out leaves, in cycles a pixel.
_LOW = 0.1

#: A narrower Gaussian is none, in pixels.
_LEAST = 0.2

_ROUNDS = 6


class Likely(NamedTuple):
    """sigma: the most likely, pixels, 0 for none. spread: standard deviation of what else is likely.

    odds: natural logarithm of how much likelier the blur is than none. rule: where its kernel is cut.
    """

    sigma: float
    spread: float
    odds: float
    rule: SizeRule


def likely_gaussian(image: Image, noise: float) -> Likely | None:
    """The isotropic Gaussian blur of a thumbnail that was mirrored (reflect101) at its borders.

    Shape: (H, W, C), sides of 8 to 64 pixels; None for others, and where there is little to see. noise: standard
    deviation in [0, 1] units.
    """
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        return None
    picture = Picture(image, noise)
    if picture.faint:
        return None
    quiet = noise < _QUIET
    found: Likely | None = None
    for rule in ("opencv-f32", "opencv-u8", "matlab") if quiet else ("opencv-u8",):
        one = _search(picture, rule)
        if found is None or one.odds > found.odds:
            found = one
    return found


class Picture:
    """Powers of the cosine transform, scaled so that white noise has the same in all of them. DC is left out."""

    def __init__(self, image: Image, noise: float) -> None:
        height, width, channels = image.shape
        self.size, self.noise = (height, width), noise
        colours = image.astype(np.float64)
        colours = colours @ _COLOURS.T if channels == 3 else colours * 3**0.5
        self.back = _COLOURS if channels == 3 else np.full((1, 1), 3**-0.5)
        self.scale = np.sqrt(np.multiply.outer(_white(height), _white(width)))[:, :, None]
        self.terms = terms = scipy.fft.dctn(colours, type=1, axes=(0, 1)) / self.scale
        down, right = (np.arange(side) / (2 * side - 2) for side in (height, width))
        frequency = np.hypot(down[:, None], right)
        self.used = frequency > 0
        f = frequency[self.used]
        self.power = np.square(terms[self.used].T)  # (C, terms)
        #: Whether most of what any blur leaves is below the noise.
        self.faint = bool(np.median(self.power[0, f < _LOW]) < 9 * noise**2)
        self.frequencies = f
        expected = np.stack([np.interp(f, KNOTS, row) for row in _POWER[:channels]]) - SLOPE * np.log(f)
        if channels == 1:
            expected += np.log(3)
        self.expected = np.exp(expected + _TILTS[:, None, None] * np.log(f / 0.1))  # (tilts, C, terms)

    def weigh(self, sigmas: Array, rule: SizeRule, tilts: slice = slice(None)) -> Array:
        """Log likelihood of each sigma, the level and slope of each colour being the likeliest. Shape: (n,) both."""
        passed = np.stack([self._passed(sigma, rule) for sigma in sigmas])[:, None, None]  # (n, 1, 1, terms)
        blurred = np.square(passed) * self.expected[tilts]  # (n, tilts, C, terms)
        floor = self.noise**2
        above = np.maximum(self.power - floor, 0)
        level = np.zeros((*blurred.shape[:3], 1))
        for _ in range(_ROUNDS):
            signal = np.exp(level) * blurred
            weight = np.square(signal / (signal + floor))
            told = (weight * above / np.maximum(signal, 1e-300)).sum(-1, keepdims=True)
            step = np.log((told + 1e-9) / (weight.sum(-1, keepdims=True) + 1e-9))
            level = np.clip(level + np.clip(step, -2, 2), -6, 6)
        variance = np.exp(level) * blurred + floor
        log = -0.5 * (self.power / variance + np.log(variance)).sum(-1)
        log -= 0.5 * np.square(level[..., 0] / _LEVEL_SPREAD)
        log -= 0.5 * np.square(_TILTS[tilts] / _SLOPE_SPREAD)[:, None]
        weighed: Array = log.max(axis=1).sum(axis=1)
        return weighed

    def is_whole(self, sigma: float, rule: SizeRule) -> bool:
        """Whether taking out a Gaussian brings back a picture that was stored in 8 bits."""
        passed = self._passed(sigma, rule)
        signal = self.expected[2].mean(axis=0)
        terms = self.terms.copy()
        terms[self.used] *= (passed * signal / (np.square(passed) * signal + self.noise**2))[:, None]
        values = 255 * scipy.fft.idctn(terms * self.scale, type=1, axes=(0, 1)) @ self.back
        return float(np.cos(2 * np.pi * values).mean()) > _WHOLE

    def _passed(self, sigma: float, rule: SizeRule) -> Array:
        """The transfer function of a Gaussian at the terms that are used."""
        if sigma == 0:
            return np.ones(int(self.used.sum()))
        taps = gaussian_taps(sigma, size=gaussian_size(sigma, rule)).astype(np.float64)
        down, right = (_transfer(taps, side) for side in self.size)
        transfer: Array = np.multiply.outer(down, right)[self.used]
        return transfer


def _search(picture: Picture, rule: SizeRule) -> Likely:
    quiet = picture.noise < _QUIET
    coarse = np.array(_COARSE)
    best = float(coarse[picture.weigh(coarse, rule, _LEVEL).argmax()])
    tried, logs = np.zeros(1), picture.weigh(np.zeros(1), rule)
    for step in (*_FINER, *(_EXACT if quiet else ())):
        near = max(best, _COARSE[1]) + step * np.arange(-4, 5)
        more = np.setdiff1d(np.round(near[near > _LEAST], 4), tried)
        if len(more):
            tried = np.concatenate([tried, more])
            logs = np.concatenate([logs, picture.weigh(more, rule)])
        best = float(tried[logs.argmax()])
    if quiet and 0 < abs(best - (typed := round(2 * best) / 2)) < _NEAR and typed:
        log = float(picture.weigh(np.array([typed]), rule)[0])
        if log + _ROUND > logs.max() or picture.is_whole(typed, rule):
            best, tried, logs = typed, np.append(tried, typed), np.append(logs, logs.max() + 1)
    order = np.argsort(tried)
    share = np.exp(logs[order] - logs.max()) * np.gradient(tried[order])
    share /= share.sum()
    mean = float(share @ tried[order])
    spread = float((share @ np.square(tried[order] - mean)) ** 0.5)
    return Likely(best, spread, float(logs.max() - logs[0]), rule)


def _white(side: int) -> Array:
    """The variance that white noise of variance 1 has in each term of an unscaled cosine transform of type 1."""
    terms = np.multiply.outer(np.arange(side), np.arange(1, side - 1)) * (np.pi / (side - 1))
    variance: Array = 2 + 4 * np.square(np.cos(terms)).sum(axis=1)
    return variance


def _transfer(taps: Array, side: int) -> Array:
    """What symmetric taps multiply each term of the cosine transform by."""
    radius = len(taps) // 2
    cosines = np.cos(np.multiply.outer(np.arange(side), np.arange(1, radius + 1)) * (np.pi / (side - 1)))
    transfer: Array = taps[radius] + 2 * cosines @ taps[radius + 1 :]
    return transfer
