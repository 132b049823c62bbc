"""The Gaussian blur of a thumbnail, by the likelihood of its cosine transform.

A picture of 32x32 has too few pixels for a mean spectrum. But a scene that was mirrored at its borders before it was
blurred is diagonal in the discrete cosine transform: coefficient k has variance |H_k|^2 S_k + n^2, so that a sigma
can be weighed by what it says of every single one. What a thumbnail's S looks like is known; its level in each
colour, and how steep it is, are fitted along. Where there is no noise but that of 8 bits, a small network that
looks at edges has its say, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.estimate.noise import noise_sigma
from unblur.estimate.taps import features, preferences
from unblur.estimate.thumbnail import SIGMAS, cosine_transfer, log_chances
from unblur.image import Image, rounding_noise
from unblur.physics.blur import Kernel
from unblur.physics.kernels import (
    SizeRule,
    distinct_u8,
    gaussian,
    gaussian_size,
    gaussian_taps,
    gaussian_u8,
)

Array: TypeAlias = NDArray[np.float64]

#: Sides for which this is meant, in pixels.
SMALLEST, LARGEST = 16, 64

#: What is weighed first, in pixels; then neighbours of the best, closer and closer.
_COARSE = (0.0, *np.arange(0.3, 5.01, 0.2))
_FINER = (0.05, 0.0125)

#: Less noise than this has only a picture that was blurred by arithmetic and never rounded to 8 bits. It leaves what
#: lies beyond a kernel's cut to be seen, and its size rule and sigma to be told exactly: in these steps, too.
ARITHMETIC_NOISE = 1e-5
_EXACT = (0.003, 0.0008)
#: The sigma of such a blur was typed, often a multiple of a half. Where that is near and brings back whole numbers of
#: 255ths, it is certain; where too much is lost for that, this much likelier beforehand, as a logarithm.
_ROUND, _NEAR = 100.0, 0.1
_WHOLE = 0.5
#: Standard deviation of what a restored picture may go beyond black and white by. Too wide a sigma leaves it by far.
_BEYOND = 0.05
#: How much likelier, as a logarithm, the first size rule is than the others.
_USUAL = 50.0

#: cv2.GaussianBlur has taps of 1/256 for 8-bit pictures: there are some hundred such blurs, and to take out a neighbour
#: of the right one leaves a third more error. From the first number on, in pixels, those this near to the likeliest
#: smooth Gaussian are weighed by the slopes that fit the picture there, and the best few by all slopes; a network
#: chooses between the likeliest of them, so many, and the smooth one.
FIXED_FROM, _AROUND, _BEST, LIKELIEST = 0.95, 0.35, 24, 7
#: The widest of them, and steps of the search.
_WIDEST, _STEP = 5.0, 0.001

#: Taps of 8-bit arithmetic show under noise of at most so many times that of rounding.
ROUNDED = 2.0

#: The terms of one picture are not as independent as the likelihood has it: the network counts so many times as much
#: (best on 544 pictures that it was not trained on).
_OPINION = 3.0

#: By how much smooth sigmas in 8 bits are found too wide in the mean, and too wide harms more than too narrow.
_TOO_WIDE = 0.025

#: Log power of photographs reduced to 32x32, times frequency ** 2.6, at equal steps of frequency to sqrt(1/2) cycles
#: a pixel: lightness, red against blue, green against both. `scripts/calibrate_thumbnails.py` prints it.
_POWER = np.array(
    [
        [-9.12, -7.26, -7.0, -6.92, -6.94, -6.98, -7.1, -7.27, -7.5,
         -7.8, -8.12, -8.57, -9.11, -9.59, -10.15, -10.47],
        [-12.78, -10.78, -10.58, -10.52, -10.64, -10.88, -11.25, -11.63, -12.1,
         -12.56, -12.89, -13.48, -14.04, -14.23, -14.31, -14.3],
        [-14.66, -12.61, -12.27, -12.06, -12.04, -12.13, -12.34, -12.62, -13.0,
         -13.39, -13.64, -14.06, -14.41, -14.48, -14.54, -14.45],
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
#: Frequencies where a blur leaves the least; and the median of a squared deviate, as a root.
_HIGH, _MEDIAN = 0.6, 0.6745

#: Blur from this sigma on, at these odds, is worth taking out of 8 bits: below, what is told of it harms as often as it
#: helps (best on 330 pictures that no network was trained on).
WORTH, _SURE = 0.55, 20.0

#: A narrower Gaussian is none, in pixels.
_LEAST = 0.2

#: Degrees of freedom of the terms' distribution: edges make some far larger than the mean power says.
_TAILS = 4.0

_ROUNDS = 6


class Likely(NamedTuple):
    """What a thumbnail was most likely blurred by.

    sigma: the most likely, pixels, 0 for none. spread: standard deviation of what else is likely, pixels. odds:
    natural logarithm of how much likelier the blur is than none. rule: where its kernel is cut. whole: whether
    taking it out brings back whole numbers of 255ths, which leaves no doubt. noise: what was reckoned with, [0, 1].
    fixed: its taps are those that OpenCV has for 8 bits.
    """

    sigma: float
    spread: float
    odds: float
    rule: SizeRule
    whole: bool
    noise: float
    fixed: bool = False

    @property
    def sure(self) -> bool:
        """Whether there is a blur, of a width that is worth taking out."""
        return self.whole or (self.sigma > WORTH and self.odds > _SURE)

    @property
    def kernel(self) -> Kernel:
        """The kernel of that Gaussian."""
        return gaussian_u8(self.sigma) if self.fixed else gaussian(self.sigma, rule=self.rule)


def likely_gaussian(image: Image, noise: float | None = None) -> Likely | None:
    """The isotropic Gaussian blur of a thumbnail that was mirrored (reflect101) at its borders.

    Shape: (H, W, C), sides of 16 to 64 pixels; None for others, and where there is little to see. noise: standard
    deviation in [0, 1] units; told from the picture where not given.
    """
    picture = _looked_at(image, noise)
    if picture is None:
        return None
    found: Likely | None = None
    for rule in ("opencv-f32", "opencv-u8", "matlab") if picture.quiet else ("opencv-u8",):
        one = _search(picture, rule)
        if found is None or (one.whole, one.odds) > (found.whole, found.odds + _USUAL):
            found = one
    return found


def likely_candidates(image: Image) -> Candidates | None:
    """What `likely_gaussian` chooses between in a thumbnail, None where there is nothing to choose."""
    picture = _looked_at(image, None)
    return None if picture is None else _fixed_around(picture, _search_smooth(picture, "opencv-u8").sigma)


def _looked_at(image: Image, noise: float | None) -> Picture | None:
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        return None
    picture = Picture(image, noise)
    if picture.faint:
        return None
    if not picture.quiet and picture.noise < ROUNDED * rounding_noise(np.uint8):
        picture.chances = log_chances(image, mean_power(picture.size)[0])
    return picture


def cosine_filter(image: Image, kernel: Kernel, noise: float) -> Image:
    """Restore a thumbnail under a symmetric, separable kernel: the mean of what is likely, term by term.

    Shape: (H, W, C), kept, each side at least 3 pixels; result within [0, 1]. noise: standard deviation in [0, 1]
    units. The Wiener filter for what this thumbnail's power is, at the border that `likely_gaussian` supposes.
    """
    picture = Picture(image, noise)
    passed = picture.passed(_line(kernel))
    level, log = picture.fit(passed[None])
    tilt = log[0].argmax(axis=0)  # of each colour
    colours = np.arange(len(tilt))
    return _seen(picture.filtered(passed, np.exp(level[0, tilt, colours]) * picture.expected[tilt, colours]))


def cosine_candidates(image: Image, kernels: Iterable[Kernel], noise: float) -> list[Image]:
    """`cosine_filter` under each of some kernels, for a mean thumbnail's power: in a tenth of the time."""
    picture = Picture(image, noise)
    return [_seen(picture.filtered(picture.passed(_line(kernel)))) for kernel in kernels]


def _line(kernel: Kernel) -> Array:
    """The taps of a separable kernel."""
    return kernel.sum(axis=0, dtype=np.float64)


def _seen(values: Array) -> Image:
    return np.clip(values, 0, 1).astype(np.float32)


class Candidates(NamedTuple):
    """Gaussians that a thumbnail may have been blurred by, the first a smooth one, the others of 8-bit arithmetic.

    sigmas: pixels, (n,). logs: of their likelihoods, (n,). transfers: what they multiply each term of the cosine
    transform by, (n, H, W).
    """

    sigmas: Array
    logs: Array
    transfers: NDArray[np.float32]


class Picture:
    """Powers of the cosine transform, scaled so that white noise has the same in all of them. DC is left out."""

    def __init__(self, image: Image, noise: float | None) -> None:
        height, width, channels = image.shape
        self.size = height, width
        colours = image.astype(np.float64)
        colours = colours @ _COLOURS.T if channels == 3 else colours * 3**0.5
        self._colours = colours.astype(np.float32)
        self._mix = _COLOURS if channels == 3 else np.full((1, 1), 3**-0.5)
        self._scale = np.sqrt(np.multiply.outer(_white(height), _white(width)))[:, :, None]
        self._terms = terms = scipy.fft.dctn(colours, type=1, axes=(0, 1)) / self._scale
        down, right = (np.arange(side) / (2 * side - 2) for side in (height, width))
        frequency = np.hypot(down[:, None], right)
        self.used = frequency > 0
        f = frequency[self.used]
        self.power = np.square(terms[self.used].T)  # (C, terms)
        if noise is None:
            least = rounding_noise(np.uint8 if _is_eight_bits(image) else np.float32)
            # Both of these are at least the noise: what is left at the highest frequencies, and in the flattest cells.
            left = float(np.median(self.power[:, f > _HIGH])) ** 0.5 / _MEDIAN
            noise = max(min(left, noise_sigma(image)), least)
            if noise < ARITHMETIC_NOISE:  # so little is what the blur has left of the picture
                noise = least
        self.noise = noise
        #: Whether it was never rounded to 8 bits.
        self.quiet = noise < ARITHMETIC_NOISE
        #: What the network says of `SIGMAS`, where it is asked.
        self.chances: NDArray[np.float32] | None = None
        #: Whether most of what any blur leaves is below the noise.
        self.faint = bool(np.median(self.power[0, f < _LOW]) < 9 * noise**2)
        self.frequencies = f
        expected = np.stack([np.interp(f, KNOTS, row) for row in _POWER[:channels]]) - SLOPE * np.log(f)
        if channels == 1:
            expected += np.log(3)
        self.expected = np.exp(expected + _TILTS[:, None, None] * np.log(f / 0.1))  # (tilts, C, terms)

    def weigh(self, sigmas: Array, rule: SizeRule, tilts: slice = slice(None)) -> Array:
        """Log likelihood of each sigma, the level and slope of each colour being the likeliest. Shape: (n,) both."""
        passed = np.stack([self.passed(_taps(sigma, rule)) for sigma in sigmas])
        weighed = self.likelihood(passed, tilts)
        if self.quiet:
            weighed -= [self._excess(one) for one in passed]
        return weighed + self.opinion(sigmas)

    def opinion(self, sigmas: Array) -> Array:
        """What the network adds to the log likelihood of each sigma, 0 where it is not asked. Shape: (n,) both."""
        if self.chances is None:
            return np.zeros(len(sigmas))
        return np.asarray(_OPINION * np.interp(sigmas, SIGMAS, self.chances))

    def likelihood(self, passed: Array, tilts: slice = slice(None)) -> Array:
        """Log likelihood of each transfer function. Shape: (n, terms) in, (n,) out."""
        weighed: Array = self.fit(passed, tilts)[1].max(axis=1).sum(axis=1)
        return weighed

    def candidates(self, sigma: float) -> Candidates:
        """A smooth Gaussian that is likely, and the likeliest of 8-bit arithmetic around it."""
        sigmas, _ = _fixed_taps()
        near = np.flatnonzero(np.abs(sigmas - sigma) < _AROUND)
        down, right = (_fixed_transfers(side) for side in self.size)
        passed = (down[near, :, None] * right[near, None, :])[:, self.used]
        # Slopes hardly depend on which of them it is.
        smooth = self.passed(_taps(sigma, "opencv-u8"))[None]
        tilts = self.fit(smooth)[1][0].argmax(axis=0)
        colours = np.arange(len(tilts))
        opinion = self.opinion(sigmas[near])
        rough = self._fit(passed, self.expected[tilts, colours][None])[1][:, 0].sum(axis=1) + opinion
        best = rough.argsort()[-_BEST:]
        logs = self.likelihood(passed[best]) + opinion[best]
        order = logs.argsort()[: -LIKELIEST - 1 : -1]
        likeliest = near[best[order]]
        own = self.likelihood(smooth) + self.opinion(np.array([sigma]))
        less = _taps(max(sigma - _TOO_WIDE, _LEAST), "opencv-u8")
        down, right = (
            np.stack([cosine_transfer(less, side), *fixed[likeliest]])
            for side, fixed in zip(self.size, (down, right), strict=True)
        )
        return Candidates(
            np.append(sigma, sigmas[likeliest]),
            np.append(own, logs[order]),
            (down[:, :, None] * right[:, None, :]).astype(np.float32),
        )

    @property
    def colours(self) -> NDArray[np.float32]:
        """The picture in the colours that are weighed; of a grey one, two are black. Shape: (3, H, W)."""
        missing = 3 - self._colours.shape[2]
        return np.pad(self._colours.transpose(2, 0, 1), ((0, missing), (0, 0), (0, 0)))

    def _excess(self, passed: Array) -> float:
        """Minus a log likelihood: how far beyond black and white the picture goes that a blur is taken out of."""
        values = self.filtered(passed)
        return float(np.square(values - np.clip(values, 0, 1)).sum()) / (2 * _BEYOND**2)

    def filtered(self, passed: Array, signal: Array | None = None) -> Array:
        """The picture that a blur is taken out of, not clipped. signal: its power, by default a mean thumbnail's."""
        if signal is None:
            signal = self.expected[_LEVEL][0]
        return self.back(passed * signal / (np.square(passed) * signal + self.noise**2))

    def fit(self, passed: Array, tilts: slice = slice(None)) -> tuple[Array, Array]:
        """The likeliest level of each colour behind each transfer function, and its log likelihood.

        Shape: (n, terms) in; (n, tilts, C, 1) and (n, tilts, C) out.
        """
        level, log = self._fit(passed, self.expected[tilts])
        log -= 0.5 * np.square(_TILTS[tilts] / _SLOPE_SPREAD)[:, None]
        return level, log

    def _fit(self, passed: Array, expected: Array) -> tuple[Array, Array]:
        """The same for other mean powers, (tilts, C, terms), all as likely."""
        # Twice as fast where nothing is told to more than the rounding of 8 bits.
        real = np.float64 if self.quiet else np.float32
        blurred = (np.square(passed)[:, None, None] * expected).astype(real)  # (n, tilts, C, terms)
        floor = self.noise**2
        power = self.power.astype(real)
        above = np.maximum(power - real(floor), 0)
        level = np.zeros((*blurred.shape[:3], 1), real)
        for _ in range(_ROUNDS):
            signal = np.exp(level) * blurred
            variance = signal + real(floor)
            # Of each term the weight, (signal / variance)^2 / (tails + power / variance), over the signal.
            weight = _TAILS * variance
            weight += power
            weight *= variance
            np.divide(signal, weight, out=weight)
            told = np.einsum("ntck,ck->ntc", weight, above)[..., None]
            counted = np.einsum("ntck,ntck->ntc", weight, signal)[..., None]
            step = np.log((told + 1e-9) / (counted + 1e-9))
            level = np.clip(level + np.clip(step, -2, 2), -6, 6)
        variance = np.exp(level) * blurred + real(floor)
        spread = np.log(variance)
        spread += (_TAILS + 1) * np.log1p(power / (_TAILS * variance))
        log: Array = -0.5 * spread.sum(-1, dtype=np.float64)
        log -= 0.5 * np.square(level[..., 0] / _LEVEL_SPREAD)
        return level, log

    def is_whole(self, sigma: float, rule: SizeRule) -> bool:
        """Whether taking out a Gaussian brings back a picture that was stored in 8 bits."""
        return are_whole(self.filtered(self.passed(_taps(sigma, rule))))

    def passed(self, taps: Array) -> Array:
        """The transfer function of symmetric taps, along rows and columns, at the terms that are used."""
        down, right = (cosine_transfer(taps, side) for side in self.size)
        transfer: Array = np.multiply.outer(down, right)[self.used]
        return transfer

    def back(self, gain: Array) -> Array:
        """The picture with its terms multiplied. Shape: (terms,) or (C, terms) in, (H, W, C) out."""
        terms = self._terms.copy()
        terms[self.used] *= np.broadcast_to(gain, self.power.shape).T
        picture: Array = scipy.fft.idctn(terms * self._scale, type=1, axes=(0, 1)) @ self._mix
        return picture


@lru_cache(maxsize=4)
def mean_power(size: tuple[int, int]) -> NDArray[np.float32]:
    """The power of a mean thumbnail's colours at each term, in units of white noise. Shape: (3, H, W)."""
    down, right = (np.arange(side) / (2 * side - 2) for side in size)
    frequency = np.hypot(down[:, None], right)
    frequency[0, 0] = 1
    colours = [np.exp(np.interp(frequency, KNOTS, row)) / frequency**SLOPE for row in _POWER]
    return np.stack(colours).astype(np.float32)


def are_whole(values: NDArray[np.floating[Any]]) -> bool:
    """Whether values in [0, 1] are, by and large, whole numbers of 255ths."""
    return float(np.cos(2 * np.pi * 255 * values).mean()) > _WHOLE


def _is_eight_bits(image: Image) -> bool:
    values = 255 * image
    return bool(np.abs(values - np.round(values)).max() < 1e-3)


def _taps(sigma: float, rule: SizeRule) -> Array:
    if sigma == 0:
        return np.ones(1)
    return gaussian_taps(sigma, size=gaussian_size(sigma, rule)).astype(np.float64)


@lru_cache(maxsize=1)
def _fixed_taps() -> tuple[Array, tuple[Array, ...]]:
    """All Gaussians of 8-bit arithmetic: the middle of the sigmas that have the same taps, and the taps."""
    sigmas, taps = zip(*distinct_u8(np.arange(_LEAST, _WIDEST, _STEP).tolist()), strict=True)
    middles = np.array([(same[0] + same[-1]) / 2 for same in sigmas])
    return middles, tuple(one.astype(np.float64) for one in taps)


@lru_cache(maxsize=4)
def _fixed_transfers(side: int) -> Array:
    """What each of `_fixed_taps` multiplies the terms of a line by. Shape: (n, side)."""
    return np.stack([cosine_transfer(taps, side) for taps in _fixed_taps()[1]])


def _search(picture: Picture, rule: SizeRule) -> Likely:
    smooth = _search_smooth(picture, rule)
    if picture.quiet:
        return smooth
    some = _fixed_around(picture, smooth.sigma)
    if some is None:
        return _less(smooth)
    planes = features(picture.colours, some.transfers, mean_power(picture.size))
    preferred = preferences(planes, some.logs, some.sigmas)
    likeliest = int(preferred.argmax())
    found = smooth._replace(
        sigma=float(some.sigmas[likeliest]),
        spread=_spread(some.sigmas, np.exp(preferred - preferred.max())),
        fixed=likeliest > 0,
    )
    return found if found.fixed else _less(found)


def _fixed_around(picture: Picture, sigma: float) -> Candidates | None:
    """What a network chooses between, where there are Gaussians of 8-bit arithmetic to be told apart."""
    return picture.candidates(sigma) if picture.chances is not None and sigma > FIXED_FROM else None


def _less(found: Likely) -> Likely:
    """What is found in 8 bits, without its bias."""
    return found._replace(sigma=max(found.sigma - _TOO_WIDE, 0.0))


def _search_smooth(picture: Picture, rule: SizeRule) -> Likely:
    """The likeliest Gaussian with taps as they should be."""
    coarse = np.array(_COARSE)
    best = float(coarse[picture.weigh(coarse, rule, _LEVEL).argmax()])
    tried, logs = np.zeros(1), picture.weigh(np.zeros(1), rule)
    for step in (*_FINER, *(_EXACT if picture.quiet else ())):
        near = max(best, _COARSE[1]) + step * np.arange(-4, 5)
        more = np.setdiff1d(np.round(near[near > _LEAST], 4), tried)
        if len(more):
            tried = np.concatenate([tried, more])
            logs = np.concatenate([logs, picture.weigh(more, rule)])
        best = float(tried[logs.argmax()])
    whole = False
    if picture.quiet and (typed := round(2 * best) / 2):
        log = float(picture.weigh(np.array([typed]), rule)[0])
        whole = picture.is_whole(typed, rule)
        if whole or log + _ROUND * (abs(typed - best) < _NEAR) > logs.max():
            kept = tried != typed
            best = typed
            tried, logs = np.append(tried[kept], typed), np.append(logs[kept], max(log, logs.max()) + 1)
    order = np.argsort(tried)
    spread = _spread(tried[order], np.exp(logs[order] - logs.max()) * np.gradient(tried[order]))
    # Whether there is a blur at all, the likelihood says alone.
    own = logs - picture.opinion(tried)
    odds = float(own[logs.argmax()] - own[tried.argmin()])
    return Likely(best, spread, odds, rule, whole, picture.noise)


def _spread(sigmas: Array, shares: NDArray[Any]) -> float:
    """Standard deviation of sigmas that have these shares."""
    shares = shares / shares.sum()
    return float((shares @ np.square(sigmas - shares @ sigmas)) ** 0.5)


def _white(side: int) -> Array:
    """The variance that white noise of variance 1 has in each term of an unscaled cosine transform of type 1."""
    terms = np.multiply.outer(np.arange(side), np.arange(1, side - 1)) * (np.pi / (side - 1))
    variance: Array = 2 + 4 * np.square(np.cos(terms)).sum(axis=1)
    return variance
