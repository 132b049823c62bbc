"""Plug and play: a network that has learnt to take out white noise says what photographs look like.

Total variation's result is brought closer to photographs by the denoiser, and back to what was observed by a division
per frequency, in a few turns at falling strength: half quadratic splitting (Zhang, Li, Zuo, Zhang, Van Gool and
Timofte, "Plug-and-play image restoration with deep denoiser prior", 2021; Venkatakrishnan, Bouman and Wohlberg,
"Plug-and-play priors for model based reconstruction", 2013). The denoiser knows nothing of blur: any kernel will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from unblur.classical.canvas import (
    FLOAT32_NOISE,
    Canvas,
    Continuation,
    Planes,
    Spectrum,
    count,
    in_strips,
    irfft,
    noise_level,
    rfft,
)
from unblur.classical.prior import Statistics
from unblur.classical.total_variation import solve
from unblur.image import Image
from unblur.physics.blur import Kernel

Denoiser: TypeAlias = Callable[[Planes, float], Planes]
"""Three planes, (3, H, W), and the standard deviation of their noise in [0, 1] units, to the planes without it."""

ITERATIONS = 3

#: What the denoiser takes for noise in the first turn and in the last: so many times the noise, but at least the second
#: number. Twice as much smooths more than the data bring back.
_FIRST, _LAST = (4.0, 2.0 / 255), (2.0, 0.6 / 255)

#: Below this noise two turns, the last at so many times the noise, are as good as three, but for lines (0.08 dB).
_QUIET, _QUIET_LAST = 0.002, 3.0

#: From this noise on so many steps of total variation will do: the turns see to the rest.
_LOUD, _FEWER = 0.0125, 4

#: Weight of the denoiser's opinion, in units of the ratio of both variances.
_TRUST = 0.23


def plug_and_play(
    image: Image,
    kernel: Kernel,
    *,
    denoise: Denoiser,
    noise: float | None = None,
    iterations: int | None = None,
    border: Continuation = "auto",
    statistics: Statistics | None = None,
) -> Image:
    """Restore with a denoiser for a prior.

    Shape: (H, W, C), C 1 or 3, kept; result within [0, 1]. `iterations`: turns of the denoiser, 3, or 2 where
    there is next to no noise. The rest as of `total_variation`.
    Raises ImageError, KernelError or OptionError.
    """
    noise = max(noise_level(noise), FLOAT32_NOISE)
    quiet = noise < _QUIET and iterations is None
    turns = count(iterations, ITERATIONS - quiet)
    steps = _FEWER if noise > _LOUD else None
    canvas, planes = solve(image, kernel, noise=noise, iterations=steps, border=border, statistics=statistics)
    if quiet:
        first, last = _FIRST[0] * noise, _QUIET_LAST * noise
    else:
        first, last = (max(share * noise, least) for share, least in (_FIRST, _LAST))
    strengths = np.geomspace(first, last, turns)
    observed = rfft(canvas.planes) if canvas.known else None
    for turn, strength in enumerate(strengths.tolist()):
        planes = _denoised(planes, strength, denoise)
        if turn < turns - 1:
            planes = _agreed(canvas, observed, planes, np.float32(_TRUST * (noise / strength) ** 2))
    return canvas.image(planes)


def _denoised(planes: Planes, strength: float, denoise: Denoiser) -> Planes:
    shown = planes if len(planes) == 3 else np.repeat(planes, 3, axis=0)
    clean = denoise(shown, strength)
    return clean if len(planes) == 3 else clean.mean(axis=0, keepdims=True)


def _agreed(canvas: Canvas, observed: Spectrum | None, planes: Planes, trust: np.float32) -> Planes:
    """What is nearest to the planes, weighed by `trust`, and to what was observed. Shape: (C, H', W'), kept.

    observed: the spectrum of the canvas where its border is known; else the planes say what lies beyond.
    """
    spectrum = rfft(planes)
    if observed is not None:
        data = observed
    else:
        height, width = canvas.size
        blurred = irfft(spectrum * canvas.transfer, canvas.grid)
        blurred[:, :height, :width] = canvas.planes[:, :height, :width]
        data = rfft(blurred)

    def solve_rows(rows: slice) -> None:
        transfer = canvas.transfer[rows]
        one = spectrum[:, rows]
        one *= trust
        one += data[:, rows] * transfer.conj()
        one /= np.square(np.abs(transfer)) + trust

    in_strips(solve_rows, spectrum, 8)
    return irfft(spectrum, canvas.grid)
