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
from typing import NamedTuple

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

#: The same for the rounding noise of smooth pictures, against that of others; how fast it falls with frequency, and the
#: share of it that is white nevertheless.
_WEAKER, _WEAKER_SPREAD, _FALLING, _STILL_WHITE = -0.7, 0.7, 0.3, 0.05

#: Log evidence, apart from sampling, at which a picture is half trusted, and how fast trust falls around it. One
#: photograph in a hundred has less than -50; few have less than -100, and their sigma is often wrong.
_UNUSUAL, _FALL = -100.0, 10.0

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


class _Noise(NamedTuple):
    """Noise of power exp(level + shape + free * N(0, 1) + N(0, rest)) besides `fixed`; level is N(mean, spread**2).

    start: the level from which Newton's method sets out.
    """

    fixed: float
    shape: Floats
    free: Floats
    rest: float
    level: float
    spread: float
    log_odds: float
    start: float


def log_evidence(found: Spectrum, log_losses: Floats, noise: float | None = None) -> Floats:
    """How probable the ring powers are under each of several blurs. Shape: (B, RINGS) in, (B,) out.

    log_losses: the log of L for each blur. noise: standard deviation of the noise where it is known.
    """
    variance = _VARIANCE + found.sampling_variance
    return np.asarray(np.logaddexp.reduce(_laplace(found.rings, variance, log_losses, _noises(found, noise))))


def trust(found: Spectrum, evidence: float) -> float:
    """How usual a picture is whose best blur has this log evidence: near 1 for photographs, 0..1."""
    usual = evidence + 0.5 * float(np.log(_VARIANCE + found.sampling_variance).sum())
    return float(1 / (1 + np.exp(np.clip((_UNUSUAL - usual) / _FALL, -50, 50))))


def _noises(found: Spectrum, noise: float | None) -> list[_Noise]:
    """The kinds of noise that are weighed against each other, each once for every start."""
    known, flat = prior(), np.zeros(RINGS)
    floor = max(found.floor, 1e-10)
    if noise is not None:
        fixed = max(floor, found.noise_gain * noise**2)
        return [_Noise(fixed, flat, flat, 0.0, _NOTHING, 0.01, 0.0, _NOTHING)]
    fall = _FALLING * (np.log(RING_CENTRES).mean() - np.log(RING_CENTRES))
    weak = float(np.log(floor)) + _WEAKER
    jpeg, jpeg_free = (
        np.interp(RING_CENTRES / found.scale, RING_CENTRES, one) for one in (known.jpeg, known.jpeg_factor)
    )
    white_level, jpeg_level = (
        level - 2 * np.log(found.scale) for level in (_WHITE_LEVEL, float(known.jpeg_level))
    )
    noises = [
        _Noise(floor, flat, flat, 0.0, _NOTHING, 0.01, 0.0, _NOTHING),
        _Noise(_STILL_WHITE * floor, fall, fall, 0.0, weak, _WEAKER_SPREAD, _LOG_ODDS["smooth"], weak),
    ]
    # Newton's method sets out from where the faintest ring is nearly all noise, or half of the rings are.
    for level in (found.rings.min() * 0.74, np.median(found.rings[RINGS // 2 :])):
        start = float(np.log(max(level, floor)))
        noises += [
            _Noise(floor, flat, flat, 0.0, white_level, _WHITE_SPREAD, _LOG_ODDS["white"], start),
            _Noise(
                floor,
                jpeg,
                jpeg_free,
                float(known.jpeg_rest),
                jpeg_level,
                _JPEG_SPREAD,
                _LOG_ODDS["jpeg"],
                start,
            ),
        ]
    return noises


def _laplace(power: Floats, variance: Floats, log_losses: Floats, noises: list[_Noise]) -> Floats:
    """Laplace's approximation of the log evidence, up to a constant. Shape: (B, RINGS) in, (noises, B) out."""
    known = prior()
    count = known.factors.shape[1]
    shape = np.array([one.shape for one in noises])[:, None]  # (noises, 1, RINGS)
    fixed, rest, start = (
        np.array([getattr(one, name) for one in noises])[:, None, None] for name in ("fixed", "rest", "start")
    )
    levels = np.array([[np.ones(RINGS), one.free] for one in noises])[:, None]  # (noises, 1, 2, RINGS)
    mean = np.array([[0.0] * count + [one.level, 0.0] for one in noises])[:, None]  # (noises, 1, latents)
    spread = np.array([[1.0] * count + [one.spread**2, 1.0] for one in noises])[:, None]
    curvature = np.eye(count + 2) / spread[..., None]
    state = np.repeat(mean, len(log_losses), axis=1)  # (noises, B, latents)
    state[:, :, :count] = _first_factors(power, variance, log_losses, fixed + np.exp(start + shape))
    state[:, :, count] = start[:, :, 0]
    for step in range(_STEPS + 1):
        signal = np.exp(known.mean + state[..., :count] @ known.factors.T + log_losses)  # (noises, B, RINGS)
        extra = np.exp((state[..., None, count:] @ levels)[..., 0, :] + shape)
        total = signal + extra + fixed
        of_signal, of_extra = signal / total, extra / total
        error = np.log(power / total)
        scatter = variance + np.square(of_signal) * known.rest + np.square(of_extra) * rest
        slopes = np.concatenate(
            [of_signal[..., None, :] * known.factors.T, of_extra[..., None, :] * levels], axis=2
        )  # (noises, B, latents, RINGS)
        weighted = slopes / scatter[..., None, :]
        precision = weighted @ slopes.swapaxes(2, 3) + curvature
        away = state - mean
        if step < _STEPS:
            gradient = (weighted @ error[..., None])[..., 0] - away / spread
            newton = np.linalg.solve(precision, gradient[..., None])[..., 0]
            state = state + np.clip(newton, -_LONGEST, _LONGEST)
    misfit = np.square(error) / scatter + np.log(scatter)
    volume = np.linalg.slogdet(precision)[1] + (np.square(away) / spread + np.log(spread)).sum(axis=2)
    odds = np.array([one.log_odds for one in noises])[:, None]
    return np.asarray(odds - 0.5 * (misfit.sum(axis=2) + volume))


def _first_factors(power: Floats, variance: Floats, log_losses: Floats, noise: Floats) -> Floats:
    """Least squares on the rings that stand above the noise.

    Shape: (B, RINGS) losses and (noises, 1, RINGS) noise in, (noises, B, F) out.
    """
    known = prior()
    weight = (power > 2 * noise) / (known.rest + variance)
    target = np.log(np.maximum(power - noise, 0.05 * noise)) - log_losses - known.mean
    normal = (known.factors.T * weight) @ known.factors + np.eye(known.factors.shape[1])
    first = np.linalg.solve(normal, known.factors.T @ (weight * target).swapaxes(1, 2))
    return np.asarray(np.clip(first, -4, 4).swapaxes(1, 2))
