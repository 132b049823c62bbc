"""Which of a few Gaussians blurred a thumbnail, by a small network that looks at what is left under each.

OpenCV's Gaussians of 8 bits are rounded so coarsely that neighbours pass the finest detail quite differently, and
taking out the wrong one leaves a pattern. The likelihood of a mean spectrum cannot tell such a pattern from the
scene's own texture; a network that sees all of the results beside each other often can. Six convolutions and two
layers more for each Gaussian, run in numpy. `scripts/train_thumbnail_taps.py` trains it.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.estimate.layers import Array, pooled, weights
from unblur.image import rounding_noise

#: What it sees of each result: a colour of `likelihood` and how many times the noise of rounding was reckoned with.
_PLANES = ((0, 4.5), (0, 1.0), (1, 2.0), (2, 2.0))
#: Added to the deviation that a colour is divided by; what is beyond so many deviations is cut off.
_LEAST, _MOST = 0.03, 6.0
#: Beyond this, logarithms of a likelihood are cut off.
FAR = 30.0
#: How much more the difference to the mean of all Gaussians counts, and what sigmas are divided by.
MORE, WIDE = 3.0, 3.0


def preferences(planes: Array, logs: NDArray[np.float64], sigmas: NDArray[np.float64]) -> Array:
    """How much each Gaussian is to be preferred, as a logarithm of odds. Shape: (n, 4, H, W) and (n,) to (n,).

    planes: as of `features`, the first of the Gaussians the only smooth one. logs: of their likelihoods, up to a
    constant. sigmas: pixels.
    """
    known = weights("taps")
    seen = np.stack([pooled(one, known) for one in planes])
    smooth = np.arange(len(seen)) == 0
    seen = np.column_stack([seen, MORE * (seen - seen.mean(axis=0)), smooth, sigmas / WIDE])
    hidden = np.maximum(seen @ known["hidden.weight"].T + known["hidden.bias"], 0)
    own = np.clip(logs - logs[0], -FAR, FAR)
    preferred: Array = (hidden @ known["out.weight"].T + known["out.bias"])[:, 0] + known["trust"] * own
    return preferred


def features(colours: Array, transfers: Array, power: Array) -> Array:
    """What the network sees: what is left of a thumbnail under each Gaussian, all on one scale.

    Shape: (3, H, W) and (n, H, W) in, (n, 4, H, W) out. colours: those of `likelihood`. transfers: what each Gaussian
    multiplies each term of the cosine transform by. power: of a mean thumbnail's colours at each term, in units in
    which white noise of variance 1 has 1 everywhere, (3, H, W).
    """
    noise = np.float32(rounding_noise(np.uint8) ** 2)
    terms = scipy.fft.dctn(colours, type=1, axes=(1, 2))
    seen = []
    for colour, times in _PLANES:
        signal = transfers * power[colour]
        gain = signal / (transfers * signal + np.float32(times) * noise)
        gain[:, 0, 0] = 1
        left = scipy.fft.idctn(terms[colour] * gain, type=1, axes=(1, 2))
        plane = colours[colour]
        seen.append(np.clip((left - plane.mean()) / (plane.std() + _LEAST), -_MOST, _MOST))
    return np.stack(seen, axis=1)
