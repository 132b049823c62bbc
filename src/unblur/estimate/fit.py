"""The numbers of a blur, read finely: where in the spectrum its dark rings, stripes and slopes lie.

The model of the power density in each cell is S L + N. S is the sharp picture: log S is a quadratic in the log of the
frequency whose terms may depend on the direction (to the fourth harmonic). L is what the blur leaves, smeared
by the window as the data are. N is the rounding of the file plus noise whose log power is linear in the log of
the frequency. All are fitted at once, the blur's numbers among them, by Fisher scoring of the gamma likelihood
of averaged periodograms (Whittle, "Estimation and information in stationary time series", 1953); cells that exceed the
model several times, which photographs have, pull no harder than those that exceed it so far.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.estimate.spectrum import Floats, noise_floor
from unblur.image import Image, luma
from unblur.physics import kernels
from unblur.physics.blur import Kernel

Floats32: TypeAlias = NDArray[np.float32]
_Design: TypeAlias = tuple[NDArray[np.intp], Floats32, Floats32]

#: Sides of the windows in pixels, and how many of them are looked at, the most textured ones.
_SIDES, _MOST = (256, 128, 64), 6

#: Frequencies that are looked at, radians per pixel: below, a picture is not one texture; above, its grid shows.
_BAND = (0.12, 3.1)

#: A cell pulls as hard as if it exceeded the model by this factor at most.
_EXCESS = 3.0

#: A kind of blur explains a spectrum better than another when its deviance is lower by so much.
CLEARLY = 30.0

#: Where a picture itself is explained badly, by this share of the deviance at least.
_SHARE = 0.03

#: Where a Gaussian that ends early may end, in the sigmas of a whole one that looks like it.
_ENDS = (1.2, 2.6)

#: Where the sigma of a Gaussian with taps of 1/256 may be, in those of a smooth one that looks like it: the faint ends
#: that it has lost make it look narrower. In steps of a pixel; and how many of the best are fitted in full, after a
#: look at every so many-th cell in a few steps of scoring.
_EIGHT_BIT, _STEP, _BEST, _THIN, _FEW = (0.88, 1.35), 0.0025, 8, 5, 4

#: Fisher scoring stops after so many steps, or when the deviance falls by less than the second number.
_STEPS, _SMALL = 10, 0.5

#: So many where a fit must not be missed.
_PATIENT = 40

#: Prior precisions: of the coefficients of log S, and of the slope of the noise.
_LOOSE, _WHITE = 1e-3, 50.0


@dataclass(frozen=True)
class _Family:
    """A kind of blur by numbers that may be any: log pixels, and degrees.

    kernel: made from them. nudge: by how much each is moved to feel its slope. reach: how far from where it started
    each may be found before the fit is not believed.
    """

    kernel: Callable[[Floats], Kernel]
    nudge: tuple[float, ...]
    reach: tuple[float, ...]


_FAMILIES = {
    "round": _Family(lambda at: kernels.gaussian(float(np.exp(at[0]))), (0.02,), (0.3,)),
    "disk": _Family(lambda at: kernels.disk(float(np.exp(at[0]))), (0.01,), (0.2,)),
    "motion": _Family(
        lambda at: kernels.motion(float(np.exp(at[0])), float(at[1])), (0.005, 0.3), (0.25, 12.0)
    ),
    "gaussian": _Family(
        lambda at: kernels.gaussian(float(np.exp(at[0])), float(np.exp(at[1])), float(at[2])),
        (0.03, 0.03, 1.0),
        (0.35, 0.5, 20.0),
    ),
}

_WHOLE = replace(_FAMILIES["round"], reach=(0.8,))
_ANY_DISK = replace(_FAMILIES["disk"], reach=(0.8,))

#: A disk that shows no rings has about so many times the radius of the sigma of a Gaussian that looks like it, ...
RADIUS_OF_SIGMA = 1.5

#: ... and is told by a deviance that is lower by the first number: that of one of 101 Gaussians was. Disks told so had
#: 1.38 to 1.60 times the radius; under the second number the scene is smooth, and the blur a Gaussian.
_ROUNDER, _LEAST_RADIUS = 6.0, 1.3

#: A Gaussian found so much narrower that explains better by the second number is believed instead.
_NARROWER, _FAR_BETTER = 0.7, 10.0


@dataclass(frozen=True, eq=False)
class Periodogram:
    """Mean power density of the luma of large windows of a picture.

    power: (side, side // 2 + 1). floor: that of rounding. noise_gain: power of luma noise for each unit of channel
    noise variance.
    """

    power: Floats32
    floor: float
    noise_gain: float

    @property
    def side(self) -> int:
        """Of a window, pixels."""
        return self.power.shape[0]


def periodogram(image: Image) -> Periodogram | None:
    """The periodogram of the most textured windows of an image; None where it is under 64 pixels on a side."""
    plane = luma(image)
    side = next((side for side in _SIDES if side <= min(plane.shape)), None)
    if side is None:
        return None
    rows, columns = (_places(length, side) for length in plane.shape)
    cut = [plane[y : y + side, x : x + side] for y in rows for x in columns]
    spread = [one[::8, ::8].std() for one in cut]
    windows = np.stack([cut[k] for k in np.argsort(spread, kind="stable")[-_MOST:]])
    taper = np.hanning(side + 1)[:-1]
    square = np.outer(taper, taper).astype(np.float32)
    windows -= np.tensordot(windows, square / square.sum(), 2)[:, None, None]
    found = scipy.fft.rfft2(windows * (square / np.sqrt(np.square(square).sum())))
    power = (np.square(found.real) + np.square(found.imag)).mean(axis=0)
    floor, gain = noise_floor(image)
    return Periodogram(power, max(floor, 1e-10), gain)


class Fit(NamedTuple):
    """The numbers that were found, and how badly they explain the periodogram: comparable between kinds.

    noise: standard deviation of the luma's noise, rounding included, at the frequencies where it begins to hide the
    picture; [0, 1] units.
    """

    numbers: tuple[float, ...]
    deviance: float
    noise: float


def refine(found: Periodogram, kind: str, numbers: tuple[float, ...]) -> Fit | None:
    """The numbers of a blur of a kind that explain a periodogram best, near those given.

    kind, numbers: "round" (sigma), "disk" (radius), "motion" (length, angle) or "gaussian" (sigma, sigma_y, angle);
    pixels and degrees.
    None where the fit wanders off: then what was given is not the blur, or not to be had from the spectrum.
    """
    return _refine(found, _FAMILIES[kind], numbers)


def explain(found: Periodogram, kernel: Kernel) -> Fit | None:
    """How well a kernel explains a periodogram; None for a flat one, or a kernel that is too wide."""
    return _refine(found, _Family(lambda _: kernel, (), ()), ())


class Remainder(NamedTuple):
    """What a kernel leaves of a periodogram.

    noise: standard deviation of white noise as strong as what is left at the frequencies where the blur has left as
    little of the picture, [0, 1] units: with the error of JPEG, which the finest frequencies do not show, and what the
    kernel does not explain. unexplained: the mean deviance of a cell; right kernels leave 0.05 to 0.09 in photographs,
    and up to 0.13 where JPEG was strong.
    """

    noise: float
    unexplained: float


def remainder(found: Periodogram, kernel: Kernel) -> Remainder:
    """What a kernel leaves of a periodogram; nothing for a flat one, or a kernel that is too wide."""
    fit = explain(found, kernel)
    return (
        Remainder(fit.noise / found.noise_gain**0.5, fit.deviance / found.power.size)
        if fit
        else Remainder(0, 0)
    )


def noise_under(found: Periodogram, kernel: Kernel) -> float:
    """Standard deviation of the noise of a picture that `kernel` has blurred, in [0, 1] units; 0 for a flat one."""
    return remainder(found, kernel).noise


class Round(NamedTuple):
    """A round blur: "gaussian" with its sigma or "disk" with its radius, pixels."""

    kind: Literal["gaussian", "disk"]
    number: float


def round_blur(found: Periodogram, sigma: float) -> Round:
    """What a picture that looks as if a Gaussian of `sigma` had blurred it was blurred by: noise may hide that.

    A disk whose rings lie in the noise, or a Gaussian that is much narrower, where they explain the periodogram better.
    """
    start = explain(found, kernels.gaussian(sigma))
    whole = _refine(found, _WHOLE, (sigma,), _PATIENT)
    disk = _refine(found, _ANY_DISK, (RADIUS_OF_SIGMA * sigma,), _PATIENT)
    bar = min((fit.deviance for fit in (start, whole) if fit), default=-np.inf)
    if disk and disk.deviance < bar - _ROUNDER and disk.numbers[0] >= _LEAST_RADIUS * sigma:
        return Round("disk", disk.numbers[0])
    if (
        start
        and whole
        and whole.numbers[0] < _NARROWER * sigma
        and whole.deviance < start.deviance - _FAR_BETTER
    ):
        return Round("gaussian", whole.numbers[0])
    return Round("gaussian", sigma)


class Truncated(NamedTuple):
    """A round Gaussian that ends early: its sigma in pixels, its taps on a side, and how badly it explains."""

    sigma: float
    size: int
    deviance: float


def truncated(found: Periodogram, sigma: float) -> Truncated | None:
    """The Gaussian of too few taps that explains a periodogram best, where it does so better than a whole one.

    Programs cut Gaussians off: imgaussfilt at two sigmas, others at a size that their user gave. The step there rings
    in the spectrum, so that both numbers can be read. sigma: in pixels, as if it were whole.
    """
    shortest, longest = (max(3, 2 * round(reach * sigma) + 1) for reach in _ENDS)
    fits = [
        Truncated(fit.numbers[0], size, fit.deviance)
        for size in range(shortest, longest + 1, 2)
        if (fit := _refine(found, _of_size(size), ((size - 1) / 4,)))
    ]
    if not fits:
        return None
    best = min(fits, key=lambda fit: fit.deviance)
    whole = (_refine(found, _WHOLE, (start,), _PATIENT) for start in (sigma, best.sigma, 1.2 * best.sigma))
    bar = min((fit.deviance for fit in whole if fit), default=np.inf)
    return best if best.deviance < bar - max(CLEARLY, _SHARE * best.deviance) else None


class Coarse(NamedTuple):
    """A Gaussian whose taps are multiples of 1/256: its sigma in pixels, and how badly it explains."""

    sigma: float
    deviance: float


def coarse_taps(found: Periodogram, sigma: float) -> Coarse | None:
    """The Gaussian of cv2.GaussianBlur in 8 bits that explains a periodogram best, if better than a smooth one does.

    Rounding the taps to 1/256 leaves ripples in the spectrum that are far above what a wide Gaussian passes there, and
    others for each sigma, so that it can be told to a hundredth. sigma: in pixels, as if the taps were smooth.
    """
    least, most = (round(reach * sigma / _STEP) for reach in _EIGHT_BIT)
    steps = sorted(range(least, most + 1), key=_roundness)
    tried = kernels.distinct_u8(step * _STEP for step in steps)
    quick = [_glance(found, taps) for _, taps in tried]
    fits = [
        Coarse(at, fit.deviance)
        for at in (tried[k][0][0] for k in np.argsort(quick)[:_BEST])
        if (fit := explain(found, kernels.gaussian_u8(at)))
    ]
    if not fits:
        return None
    best = min(fits, key=lambda fit: fit.deviance)
    near = (sigma, best.sigma)
    smooth = chain(
        (explain(found, kernels.gaussian(at)) for at in near), (_refine(found, _WHOLE, (at,)) for at in near)
    )
    # The first smooth one that does as well ends the search.
    return best if all(best.deviance < fit.deviance - CLEARLY for fit in smooth if fit) else None


def _roundness(step: int) -> tuple[int, int]:
    """Sorts multiples of the step: those of a tenth of a pixel first, then of a hundredth."""
    return next(i for i, unit in enumerate((40, 20, 4, 1)) if step % unit == 0), step


def _glance(found: Periodogram, taps: Floats32) -> float:
    """About how badly a separable kernel explains a periodogram: at some of the cells, in a few steps."""
    if len(taps) > found.side:
        return np.inf
    cells, noises, shapes = _design(found.side)
    design = cells[::_THIN], noises[::_THIN], shapes[::_THIN]
    left = _left_by(taps, found.side).ravel()[design[0]]
    fit = _scored(found, design, lambda _: left, _Family(lambda _: kernels.delta(), (), ()), (), _FEW)
    return fit.deviance if fit else np.inf


def _left_by(taps: Floats32, side: int) -> Floats32:
    """What a separable kernel leaves of the power, as a tapered window sees it. Shape: (side, side // 2 + 1)."""
    own = np.zeros(side)
    reach = min(len(taps), side) - 1
    lags = np.arange(-reach, reach + 1)
    own[lags % side] = np.correlate(taps, taps, "full")[len(taps) - 1 + lags] * _overlap(side)[np.abs(lags)]
    line = scipy.fft.rfft(own).real.astype(np.float32)
    k = np.arange(side)
    return np.maximum(np.outer(line[np.minimum(k, side - k)], line), np.float32(1e-6))


def _of_size(size: int) -> _Family:
    return _Family(lambda at: kernels.gaussian(float(np.exp(at[0])), size=size), (0.02,), (0.5,))


def _refine(
    found: Periodogram, family: _Family, numbers: tuple[float, ...], steps: int = _STEPS
) -> Fit | None:
    design = _design(found.side)
    return _scored(found, design, partial(_losses, family, found.side, design[0]), family, numbers, steps)


def _scored(
    found: Periodogram,
    design: _Design,
    losses: Callable[[Floats], Floats32],
    family: _Family,
    numbers: tuple[float, ...],
    steps: int,
) -> Fit | None:
    """Fisher scoring. losses: what the blur leaves in each cell of the design, by its numbers."""
    lengths = len(numbers) - (len(numbers) > 1)
    start = np.array([*np.log(numbers[:lengths]), *numbers[lengths:]], np.float64)
    cells, noises, shapes = design
    data = np.maximum(found.power.ravel()[cells], np.float32(1e-12))
    if data.max() < 4 * found.floor or len(family.kernel(start)) > found.side:
        return None
    count, at = shapes.shape[1], start
    loss = losses(at)
    state = _first_state(data, loss, shapes, found.floor)
    penalty = np.array([_LOOSE] * count + [0, _WHITE] + [0] * len(at))

    def model(state: Floats, loss: Floats32) -> tuple[Floats32, Floats32]:
        signal = np.exp(np.clip(shapes @ state[:count].astype(np.float32), -40, 20)) * loss
        return signal, np.exp(noises @ state[count:].astype(np.float32))

    def deviance(state: Floats, signal: Floats32, noise: Floats32) -> float:
        prior = (penalty[: count + 2] * np.square(state)).sum() / 2
        return float(_deviances(data / (signal + noise + found.floor)).sum() + prior)

    signal, noise = model(state, loss)
    best, damping = deviance(state, signal, noise), 1e-3
    for _ in range(steps):
        total = signal + noise + found.floor
        of_signal, of_noise = (signal / total)[:, None], (noise / total)[:, None]
        moves = _log_slopes(losses, at, family.nudge, of_signal)
        slopes = np.concatenate([of_signal * shapes, of_noise * noises, moves], axis=1)
        pull = slopes.T @ np.clip(data / total - 1, -1, _EXCESS) - penalty * np.append(
            state, np.zeros(len(at))
        )
        fisher = (slopes.T @ slopes).astype(np.float64) + np.diag(penalty)
        for _ in range(4):
            step = np.linalg.solve(
                fisher + damping * np.diag(np.diag(fisher)) + 1e-6 * np.eye(len(fisher)), pull
            )
            step[count + 2 :] = np.clip(step[count + 2 :], *(np.outer([-20, 20], family.nudge)))
            new_state, new_at = state + np.clip(step[: count + 2], -2, 2), at + step[count + 2 :]
            if (np.abs(new_at - start) > family.reach).any() or len(family.kernel(new_at)) > found.side:
                return None
            signal, noise = model(new_state, losses(new_at))
            new = deviance(new_state, signal, noise)
            if new <= best:
                break
            damping *= 10
        else:
            break
        state, at, fell, best, damping = new_state, new_at, best - new, new, damping / 10
        if fell < _SMALL:
            break
    signal, noise = model(state, losses(at))
    noise += found.floor
    doubt = signal * noise / np.square(signal + noise)
    level = float(doubt @ noise / max(float(doubt.sum()), 1e-9)) ** 0.5
    return Fit((*np.exp(at[:lengths]).tolist(), *(at[lengths:] % 180).tolist()), best, level)


def _first_state(data: Floats32, loss: Floats32, shapes: Floats32, floor: float) -> Floats:
    """Where the fit starts: coefficients of log S by least squares on the log, then level and slope of the noise."""
    level = float(np.log(np.maximum(np.quantile(data, 0.02), floor)))
    clear = (data > 3 * np.exp(level)) * np.minimum(loss, 1)
    target = np.log(np.maximum(data - np.exp(level), 1e-12) / np.maximum(loss, 1e-7))
    normal = (shapes.T * clear) @ shapes + _LOOSE * np.eye(shapes.shape[1])
    return np.array([*np.linalg.solve(normal, shapes.T @ (clear * target)), level, 0.0])


def _deviances(ratio: Floats32) -> Floats32:
    """The gamma deviance of each cell by its data over the model; above the bound, its tangent in the log."""
    high = np.maximum(ratio / (1 + _EXCESS), 1)
    return ratio / high - 1 - np.log(ratio / high) + _EXCESS * np.log(high)


def _log_slopes(
    losses: Callable[[Floats], Floats32], at: Floats, nudges: tuple[float, ...], share: Floats32
) -> Floats32:
    """How the log of the model changes with each number of the blur. share: of the signal. Shape: (cells, numbers)."""
    slopes = np.empty((len(share), len(nudges)), np.float32)
    for column, nudge, step in zip(slopes.T, nudges, np.diag(nudges), strict=True):
        column[:] = share[:, 0] * np.log(losses(at + step) / losses(at - step)) / (2 * nudge)
    return slopes


def _places(length: int, side: int) -> list[int]:
    """First pixels of half-overlapping windows that cover a side; of a long one, of some."""
    count = min(1 + -(-(length - side) // (side // 2)), 12)
    return [round(at) for at in np.linspace(0, length - side, count)]


def _losses(family: _Family, side: int, cells: NDArray[np.intp], at: Floats) -> Floats32:
    """What a blur leaves of the power in each cell, as a tapered window sees it. Shape: as `cells`."""
    kernel = family.kernel(at)
    size = scipy.fft.next_fast_len(2 * len(kernel) - 1, real=True)
    own = scipy.fft.irfft2(np.square(np.abs(scipy.fft.rfft2(kernel, (size, size)))), (size, size))
    reach = min(len(kernel), side) - 1  # of the autocorrelation, as far as the window sees it
    lags = np.arange(-reach, reach + 1)
    grid = np.zeros((side, side), np.float32)
    overlap = _overlap(side)[np.abs(lags)]
    grid[np.ix_(lags % side, lags % side)] = own[np.ix_(lags % size, lags % size)] * np.outer(
        overlap, overlap
    )
    return np.maximum(scipy.fft.rfft2(grid).real.ravel()[cells], np.float32(1e-6))


@lru_cache(maxsize=3)
def _overlap(side: int) -> Floats:
    """Autocorrelation of the taper, 1 at lag 0. Shape: (side,)."""
    taper = np.hanning(side + 1)[:-1]
    return np.correlate(taper, taper, "full")[side - 1 :] / np.square(taper).sum()


@lru_cache(maxsize=3)
def _design(side: int) -> _Design:
    """The cells of the band, thinned; and what the log powers of noise (n, 2) and picture (n, 11) are linear in."""
    y, x = np.meshgrid(2 * np.pi * np.fft.fftfreq(side), 2 * np.pi * np.fft.rfftfreq(side), indexing="ij")
    radius = np.hypot(y, x)
    once = (x > 0) | (y > 0)  # the first column holds each frequency twice
    wanted = (radius > _BAND[0]) & (radius < _BAND[1]) & once
    if side > 128:
        wanted &= np.indices(wanted.shape).sum(axis=0) % 2 == 0  # every other cell: neighbours tell the same
    cells = np.flatnonzero(wanted)
    log, angle = np.log(radius.ravel()[cells]), np.arctan2(y, x).ravel()[cells]
    turns = [turn(order * angle) for order in (2, 4) for turn in (np.cos, np.sin)]
    noises = np.stack([np.ones_like(log), log], axis=1)
    shapes = np.stack([np.ones_like(log), log, log**2, *turns, *(turn * log for turn in turns)], axis=1)
    return cells, noises.astype(np.float32), shapes.astype(np.float32)
