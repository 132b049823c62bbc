"""The standard deviation of a Gaussian blur, from one image and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from unblur.estimate import spectrum as spectra
from unblur.estimate.spectrum import RINGS, Floats, Spectrum
from unblur.image import Image
from unblur.physics.kernels import gaussian_taps

#: The sigmas that are tried, in pixels.
GRID = np.concatenate([np.arange(0, 1, 0.1), np.arange(1, 3, 0.125), np.arange(3, 6.01, 0.25)])

#: Variance of a log ring power about the model: sampling, anisotropy, block edges of JPEG.
_RING_VARIANCE = 0.01

#: Newton steps to the most probable sharp spectrum; more change sigma by less than 0.01.
_STEPS = 8


@dataclass(frozen=True, eq=False)
class _Prior:
    """Log ring powers of sharp photographs: mean (RINGS,) and covariance (RINGS, RINGS)."""

    mean: Floats
    covariance: Floats


def gaussian_sigma(image: Image, *, noise: float | None = None) -> tuple[float, float]:
    """Standard deviation of the Gaussian blur of an image in pixels, and how sure that is (0..1).

    The ring powers of the picture are explained as those of a sharp photograph, whose logarithms are
    Gaussian with a mean and a covariance measured on photographs, times the transfer function of the blur,
    plus white noise. Sigma is the posterior mean, with the sharp spectrum integrated out (Laplace's method)
    and the noise, where it is not given, too. Photographs are unsharp by themselves; that reads as 0.
    """
    found = spectra.spectrum(image)
    return (0.0, 0.0) if found is None else sigma_of(found, noise)


def sigma_of(found: Spectrum, noise: float | None = None) -> tuple[float, float]:
    """`gaussian_sigma` for a spectrum that is known already."""
    floors = _floors(found, noise)
    evidence = _evidence(found, floors)
    chance = np.exp(evidence - evidence.max())
    chance /= chance.sum()
    of_sigma = chance.sum(axis=1)
    sigma = float(of_sigma @ GRID)
    spread = float(of_sigma @ np.square(GRID - sigma)) ** 0.5
    return sigma, float(1 / (1 + (spread / 0.15) ** 2))


def _floors(found: Spectrum, noise: float | None) -> Floats:
    """The powers of white noise that are tried."""
    least = max(found.floor, 1e-10)
    if noise is not None:
        return np.array([max(least, found.noise_gain * noise**2)])
    most = max(float(found.rings.min()), least)
    return np.asarray(np.geomspace(least, most, 5)) if most > 1.2 * least else np.array([least])


def _evidence(found: Spectrum, floors: Floats) -> Floats:
    """Log probability of the ring powers for each sigma and floor. Shape: (len(GRID), len(floors))."""
    prior = _prior()
    inverse = np.linalg.inv(prior.covariance)
    loss = _losses(*found.side)[:, None, :]
    power = found.rings
    target = np.log(power)
    floor = floors[None, :, None]
    start = np.log(np.maximum(power - floor, 0.05 * floor)) - loss
    sharp = np.where(power > 2 * floor, start, prior.mean)
    sharp = np.clip(sharp, prior.mean - 6, prior.mean + 6)
    for step in range(_STEPS + 1):
        signal = np.exp(sharp + loss)
        share = signal / (signal + floor)
        error = target - np.log(signal + floor)
        away = (sharp - prior.mean) @ inverse
        hessian = inverse + np.eye(RINGS) * (np.square(share) / _RING_VARIANCE)[..., None]
        if step < _STEPS:
            slope = share * error / _RING_VARIANCE - away
            sharp = sharp + np.clip(np.linalg.solve(hessian, slope[..., None])[..., 0], -2, 2)
    fit = np.square(error).sum(axis=-1) / _RING_VARIANCE + ((sharp - prior.mean) * away).sum(axis=-1)
    return np.asarray(-0.5 * (fit + np.linalg.slogdet(hessian)[1]))


@lru_cache(maxsize=1)
def _prior() -> _Prior:
    text = resources.files(__package__).joinpath("prior.json").read_text()
    numbers = json.loads(text)
    return _Prior(np.array(numbers["mean"]), np.array(numbers["covariance"]))


@lru_cache(maxsize=8)
def _losses(rows: int, columns: int) -> Floats:
    """Log of what each sigma leaves of the power of each ring. Shape: (len(GRID), RINGS)."""
    cells = 2 * spectra.SIDE
    y, x = 2 * np.pi * np.fft.fftfreq(cells), 2 * np.pi * np.fft.rfftfreq(cells)
    natural = np.maximum(np.hypot(y[:, None], x), 0.5 * y[1]) ** -2.2
    found = []
    for sigma in GRID:
        taps = gaussian_taps(float(sigma))
        reach = np.arange(len(taps)) - len(taps) // 2
        along_y, along_x = np.cos(np.outer(y, reach)) @ taps, np.cos(np.outer(x, reach)) @ taps
        density = natural * np.square(np.outer(along_y, along_x))
        found.append(spectra.ring_average() @ spectra.windowed(density, rows, columns).ravel())
    return np.asarray(np.log(found) - np.log(found[0]))
