"""How wide the Gaussian blur of a thumbnail is, by a small network that looks at its edges.

The likelihood of a cosine transform knows a thumbnail by its mean spectrum only. But where too wide a Gaussian is
taken out of a picture its edges ring, and after too narrow a one they are soft. The network sees the lightness and
what is left of it under some Gaussians, and says how likely each sigma is. Six convolutions and two layers more,
19 million multiplications for 32x32, run in numpy. `scripts/train_thumbnail_estimate.py` trains it.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.estimate.layers import Array, pooled, weights
from unblur.image import Image, rounding_noise
from unblur.physics.kernels import gaussian_size, gaussian_taps

#: What it tells apart, in pixels.
SIGMAS = np.arange(104) * 0.05

#: The Gaussians that are taken out for it to see.
_TAKEN_OUT = (0.6, 1.0, 1.4, 1.8, 2.2, 2.6, 3.0)
#: Noise is reckoned with this power, in units of that of rounding.
_NOISE = 4.5
#: Added to the deviation that a picture is divided by; what is beyond so many deviations is cut off.
_LEAST, _MOST = 0.02, 6.0


def log_chances(image: Image, power: NDArray[np.float64]) -> Array:
    """The logarithm of how likely each of `SIGMAS` is. Shape: (H, W, C) in, sides of 16 pixels at least.

    power: of a mean thumbnail's lightness, as of `features`.
    """
    lightness = image.mean(axis=2, dtype=np.float32)
    known = weights("thumbnail")
    flat = pooled(features(lightness[None], power)[0], known)
    hidden = np.maximum(known["hidden.weight"] @ flat + known["hidden.bias"], 0)
    out = known["out.weight"] @ hidden + known["out.bias"]
    chances: Array = out - out.max() - np.log(np.exp(out - out.max()).sum())
    return chances


def features(lightness: Array, power: NDArray[np.float64]) -> Array:
    """What the network sees: the pictures and what is left of them under some Gaussians, all on one scale.

    Shape: (N, H, W) in, (N, 8, H, W) out. power: of a mean thumbnail at each term of the cosine transform, in units in
    which white noise of variance 1 has 1 everywhere, (H, W).
    """
    terms = scipy.fft.dctn(lightness, type=1, axes=(1, 2))
    left = scipy.fft.idctn(terms[:, None] * _gains(lightness.shape[1:], power), type=1, axes=(2, 3))
    seen = np.concatenate([lightness[:, None], left], axis=1)
    mean = lightness.mean((1, 2))[:, None, None, None]
    spread = lightness.std((1, 2))[:, None, None, None]
    return np.clip((seen - mean) / (spread + _LEAST), -_MOST, _MOST).astype(np.float32)


def cosine_transfer(taps: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """What symmetric taps multiply each term of the cosine transform by. Shape: (side,) out."""
    radius = len(taps) // 2
    cosines = np.cos(np.multiply.outer(np.arange(side), np.arange(1, radius + 1)) * (np.pi / (side - 1)))
    passed: NDArray[np.float64] = taps[radius] + 2 * cosines @ taps[radius + 1 :]
    return passed


def _gains(size: tuple[int, ...], power: NDArray[np.float64]) -> Array:
    """What takes each Gaussian out. Shape: (7, H, W)."""
    gains = []
    for sigma in _TAKEN_OUT:
        taps = gaussian_taps(sigma, size=gaussian_size(sigma, "opencv-u8")).astype(np.float64)
        passed = np.multiply.outer(*(cosine_transfer(taps, side) for side in size))
        gain = passed * power / (np.square(passed) * power + _NOISE * rounding_noise(np.uint8) ** 2)
        gain[0, 0] = 1
        gains.append(gain)
    return np.stack(gains).astype(np.float32)
