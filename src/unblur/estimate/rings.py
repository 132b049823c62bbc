"""How well a blur explains the spectrum of a picture: the ring powers of a sharp photograph, blurred, plus noise.

The model of the power in ring k is P_k = exp(y_k) L_k + N_k. The log powers y of sharp photographs are Gaussian:
a mean, a few factors and a rest, measured on photographs (`scripts/calibrate_estimate.py`). L is what the blur
leaves of the power (its squared transfer function). N is noise: the rounding of the picture, which is white, or weaker
and not quite white where the picture is very smooth, and on top nothing, white noise, or the error of JPEG
compression, whose spectrum has been measured too. The evidence for a blur is the
probability of the ring powers with the factors and the noise level integrated out by Laplace's method.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from unblur.estimate.spectrum import RING_CENTRES, RINGS, Floats, Spectrum

#: Variance of a log ring power about the model that no amount of pixels reduces: what rings cannot express.
_VARIANCE = 0.01

#: Log of how likely each kind of noise is, before looking, against rounding alone.
_LOG_ODDS = {"smooth": -2.0, "white": -1.0, "jpeg": -1.0}

#: Log power of no noise at all.
_NOTHING = -60.0

#: Mean log power of white noise, and how far it may lie from there; the same for the error of JPEG.
_WHITE_LEVEL, _WHITE_SPREAD, _JPEG_SPREAD = -10.0, 2.5, 1.2

#: Log evidence, apart from sampling, that one photograph in a hundred falls short of.
_UNUSUAL = -45.0

#: Newton steps, and the longest of them; more change sigma by less than 0.01.
_STEPS, _LONGEST = 8, 1.5


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known about photographs and their noise.

    mean (RINGS,), factors (RINGS, F), rest (RINGS,): log ring powers of sharp photographs are mean +
    factors @ N(0, 1) + N(0, rest). jpeg (RINGS,), jpeg_factor (RINGS,), jpeg_rest (), jpeg_level (): the same for the
    error of JPEG, apart from its level.
    """

    mean: Floats
    factors: Floats
    rest: Floats
    jpeg: Floats
    jpeg_factor: Floats
    jpeg_rest: Floats
    jpeg_level: Floats


@lru_cache(maxsize=1)
def prior() -> Prior:
    """The prior that comes with the package."""
    numbers = json.loads(resources.files(__package__).joinpath("prior.json").read_text())
    return Prior(
        **{name: np.array(value) if isinstance(value, list) else value for name, value in numbers.items()}
    )


@dataclass(frozen=True, eq=False)
class _Noise:
    """Noise of power exp(level + shape + free * N(0, 1) + N(0, rest)) besides `fixed`; level is N(mean, spread**2).

    starts: the levels from which Newton's method sets out. Without any, there is no noise but `fixed`.
    """

    fixed: float
    shape: Floats
    free: Floats | None = None
    rest: float = 0.0
    level: float = _NOTHING
    spread: float = 0.01
    starts: tuple[float, ...] = (_NOTHING,)
    log_odds: float = 0.0


def log_evidence(found: Spectrum, log_losses: Floats, noise: float | None = None) -> Floats:
    """How probable the ring powers are under each of several blurs. Shape: (B, RINGS) in, (B,) out.

    log_losses: the log of L for each blur. noise: standard deviation of the noise where it is known.
    """
    power, variance = found.rings, _VARIANCE + found.sampling_variance
    terms = [
        _laplace(power, variance, log_losses, one, start)
        for one in _noises(found, noise)
        for start in one.starts
    ]
    return np.asarray(np.logaddexp.reduce(terms))


def trust(found: Spectrum, evidence: float) -> float:
    """How usual a picture is whose best blur has this log evidence: near 1 for photographs, 0..1."""
    usual = evidence + 0.5 * float(np.log(_VARIANCE + found.sampling_variance).sum())
    return float(1 / (1 + np.exp(np.clip((_UNUSUAL - usual) / 5, -50, 50))))


def _noises(found: Spectrum, noise: float | None) -> list[_Noise]:
    flat = np.zeros(RINGS)
    floor = max(found.floor, 1e-10)
    if noise is not None:
        return [_Noise(max(floor, found.noise_gain * noise**2), flat)]
    known = prior()
    jpeg, jpeg_free = (
        np.interp(RING_CENTRES / found.scale, RING_CENTRES, one) for one in (known.jpeg, known.jpeg_factor)
    )
    fall = np.log(RING_CENTRES).mean() - np.log(RING_CENTRES)
    smaller = 2 * np.log(found.scale)
    # Newton's method starts where the last ring is all noise, and where half of the rings are.
    last = float(np.log(max(found.rings.min(), floor))) - 0.3
    half = float(np.log(max(np.median(found.rings[RINGS // 2 :]), floor)))
    return [
        _Noise(floor, flat),
        _Noise(
            0.05 * floor,
            0.3 * fall,
            0.3 * fall,
            0,
            np.log(floor) - 0.7,
            0.7,
            (np.log(floor) - 0.7,),
            _LOG_ODDS["smooth"],
        ),
        _Noise(floor, flat, None, 0, _WHITE_LEVEL - smaller, _WHITE_SPREAD, (last, half), _LOG_ODDS["white"]),
        _Noise(
            floor,
            jpeg,
            jpeg_free,
            float(known.jpeg_rest),
            float(known.jpeg_level) - smaller,
            _JPEG_SPREAD,
            (last, half),
            _LOG_ODDS["jpeg"],
        ),
    ]


def _laplace(power: Floats, variance: Floats, log_losses: Floats, noise: _Noise, start: float) -> Floats:
    """Laplace's approximation of the log evidence, up to a constant. Shape: (B, RINGS) in, (B,) out."""
    known = prior()
    count = known.factors.shape[1]
    levels = np.ones((RINGS, 1)) if noise.free is None else np.column_stack([np.ones(RINGS), noise.free])
    mean = np.zeros(count + levels.shape[1])
    mean[count] = noise.level
    spread = np.ones(len(mean))
    spread[count] = noise.spread**2
    state = np.tile(mean, (len(log_losses), 1))  # (B, latents)
    state[:, count] = start
    state[:, :count] = _first_factors(power, variance, log_losses, noise.fixed + np.exp(start + noise.shape))
    for step in range(_STEPS + 1):
        signal = np.exp(known.mean + state[:, :count] @ known.factors.T + log_losses)  # (B, RINGS)
        extra = np.exp(state[:, count:] @ levels.T + noise.shape)
        total = signal + extra + noise.fixed
        of_signal, of_extra = signal / total, extra / total
        error = np.log(power) - np.log(total)
        scatter = variance + np.square(of_signal) * known.rest + np.square(of_extra) * noise.rest
        slopes = np.concatenate([of_signal[..., None] * known.factors, of_extra[..., None] * levels], axis=2)
        weighted = slopes / scatter[..., None]
        precision = weighted.swapaxes(1, 2) @ slopes + np.diag(1 / spread)  # (B, latents, latents)
        away = state - mean
        if step < _STEPS:
            gradient = (weighted * error[..., None]).sum(axis=1) - away / spread
            state = state + np.clip(
                np.linalg.solve(precision, gradient[..., None])[..., 0], -_LONGEST, _LONGEST
            )
    misfit = (np.square(error) / scatter + np.log(scatter)).sum(axis=1) + (np.square(away) / spread).sum(
        axis=1
    )
    volume = np.linalg.slogdet(precision)[1] + np.log(spread).sum()
    return np.asarray(noise.log_odds - 0.5 * (misfit + volume))


def _first_factors(power: Floats, variance: Floats, log_losses: Floats, noise: Floats) -> Floats:
    """Least squares on the rings that stand above the noise. Shape: (B, RINGS) in, (B, F) out."""
    known = prior()
    weight = (power > 2 * noise) / (known.rest + variance)
    target = np.log(np.maximum(power - noise, 0.05 * noise)) - log_losses - known.mean
    normal = known.factors.T @ (weight[:, None] * known.factors) + np.eye(known.factors.shape[1])
    return np.clip(np.linalg.solve(normal, known.factors.T @ (weight * target).T).T, -4, 4)
