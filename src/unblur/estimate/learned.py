"""What kind of blur it is, by a small network that looks at the spectrum of a picture.

A blur is a filter, so the power spectrum, averaged over windows, holds nearly all that a picture tells about it. The
network sees the mean log power and the log mean power over windows (noise and clipping part them), at full
and at half size, on a polar grid: there a picture that is turned is one that is moved around. Three convolutions
and two layers more, a few million operations, run in numpy. `scripts/train_blur_estimator.py` trains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unblur.estimate.layers import convolved, weights
from unblur.estimate.noise import noise_sigma
from unblur.estimate.spectrum import SIDE, Floats, Spectrum, spectrum
from unblur.image import Image

#: What the network tells apart; "oblique" is a Gaussian of two widths, "shake" any blur without a formula.
KINDS = ("none", "gaussian", "oblique", "disk", "motion", "shake")

#: Directions over 180 degrees, and frequencies in cells of the transform, at which a spectrum is read.
ANGLES, RADII = 32, np.linspace(2.0, 31.0, 24)

#: Where in the output what begins: chances of the kinds, log pixels of the sizes, then the directions.
_SIZES, _OBLIQUE, _MOTION = len(KINDS), len(KINDS) + 4, len(KINDS) + 6

#: Added to powers and noises before their log is taken.
_LEAST_POWER, _LEAST_NOISE = 1e-10, 5e-4


class Guess(NamedTuple):
    """What the network reads from a picture.

    chances: of each of `KINDS`, sum 1. The rest says what the blur would be if it were of that kind: sigma and
    sigma_y of an oblique Gaussian along `axis` and across it, radius of a disk, length of a motion along
    `angle`; pixels, and degrees counter-clockwise from +x in 0..180.
    """

    chances: Mapping[str, float]
    sigma: float
    sigma_y: float
    axis: float
    radius: float
    length: float
    angle: float


def guess_blur(image: Image) -> Guess | None:
    """The network's reading of an image; None where it is too small or too flat to have a spectrum."""
    found = spectrum(image)
    return None if found is None else guess_at(image, found, noise_sigma(image))


def guess_at(image: Image, found: Spectrum, noise: float) -> Guess:
    """`guess_blur` where the spectrum and `noise_sigma` are known already."""
    polar, facts = features(found, spectrum(image, 2), noise)
    known = weights("learned")
    planes = (polar - known["polar_mean"]) / known["polar_spread"]
    for layer, pooled in (("first", True), ("second", True), ("third", False)):
        planes = _convolve(planes, known[f"{layer}.weight"], known[f"{layer}.bias"])
        if pooled:
            planes = planes.reshape(len(planes), planes.shape[1] // 2, 2, -1, 2).mean(axis=(2, 4))
    flat = np.append(planes.ravel(), (facts - known["facts_mean"]) / known["facts_spread"])
    hidden = np.maximum(known["hidden.weight"] @ flat + known["hidden.bias"], 0)
    out = (known["out.weight"] @ hidden + known["out.bias"]).astype(np.float64)
    chances = np.exp(out[:_SIZES] - out[:_SIZES].max())
    chances /= chances.sum()
    sizes = np.exp(np.clip(out[_SIZES:_OBLIQUE], -3, 5))
    return Guess(
        dict(zip(KINDS, chances.tolist(), strict=True)),
        float(max(sizes[:2])),
        float(min(sizes[:2])),
        axis_of(*out[_OBLIQUE:_MOTION]),
        float(sizes[2]),
        float(sizes[3]),
        axis_of(*out[_MOTION:]),
    )


def features(
    full: Spectrum, half: Spectrum | None, noise: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the network sees. Shape: (4, ANGLES, len(RADII)), and (4,) facts.

    full, half: spectra of the picture and of the means of 2 by 2 pixels, if it is large enough. noise: `noise_sigma`.
    """
    typical = _polar(full.log_power)
    excess = _polar(np.log(full.power + 0.1 * full.floor + _LEAST_POWER)) - typical
    coarse, coarse_excess = np.zeros((2, *typical.shape))
    if half is not None:
        coarse = _polar(half.log_power)
        coarse_excess = _polar(np.log(half.power + _LEAST_POWER)) - coarse
    level, log_noise = typical[:, :3].mean(), np.log(noise + _LEAST_NOISE)
    planes = [typical - level, excess, coarse - coarse[:, :3].mean(), coarse_excess]
    facts = [level, log_noise, np.log(full.windows), typical.min() - 2 * log_noise]
    return np.stack(planes).astype(np.float32), np.array(facts, np.float32)


def _polar(half_plane: Floats) -> Floats:
    """A half spectrum read on the polar grid. Shape: (64, 33) to (ANGLES, len(RADII))."""
    cells, shares = _polar_grid()
    return np.asarray((half_plane.ravel()[cells] * shares).sum(axis=0))


@lru_cache(maxsize=1)
def _polar_grid() -> tuple[NDArray[np.intp], Floats]:
    """The four cells around each point of the polar grid and their bilinear shares. Shape: (4, ANGLES, radii)."""
    turn = np.pi * np.arange(ANGLES)[:, None] / ANGLES
    x, y = np.cos(turn) * RADII, np.sin(turn) * RADII
    x, y = np.abs(x), np.where(x < -1e-9, -y, y)  # the other half plane is its mirror image
    left, top = np.clip(np.floor(x), 0, SIDE // 2 - 1).astype(np.intp), np.floor(y).astype(np.intp)
    right, down = x - left, y - top
    cells = [((top + i) % SIDE) * (SIDE // 2 + 1) + left + j for i in (0, 1) for j in (0, 1)]
    shares = [(down if i else 1 - down) * (right if j else 1 - right) for i in (0, 1) for j in (0, 1)]
    return np.stack(cells), np.stack(shares)


def _convolve(
    planes: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> NDArray[np.float32]:
    """3x3 over angles, which are a circle, and radii, and the positive part. Shape: (C, A, R) to (D, A, R)."""
    around = np.pad(np.pad(planes, ((0, 0), (1, 1), (0, 0)), mode="wrap"), ((0, 0), (0, 0), (1, 1)))
    return convolved(around, weight, bias)


def axis_of(cosine: float, sine: float) -> float:
    """Degrees in 0..180 of an axis, which is the same half a turn on, given as the cosine and sine of its double."""
    return float(np.degrees(np.arctan2(sine, cosine)) / 2 % 180)
