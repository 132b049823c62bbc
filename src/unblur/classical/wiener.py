"""The Wiener filter: the best linear restoration of an image in noise, given its power spectrum."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from unblur.classical.canvas import (
    FLOAT32_NOISE,
    Continuation,
    Planes,
    count,
    irfft,
    make_canvas,
    noise_level,
)
from unblur.classical.linear import filter_linear, solve_colours
from unblur.classical.prior import (
    Statistics,
    count_edged,
    expected_energy,
    gradient_power,
    measure,
    noise_to_signal,
    rotate,
)
from unblur.classical.rim import fill_beyond, has_room, is_near
from unblur.errors import OptionError
from unblur.image import Image
from unblur.physics.blur import Kernel

Prior: TypeAlias = Literal["power-law", "laplacian", "flat"]

#: Steps of the conjugate gradients that an unknown border takes.
ITERATIONS = 20

#: Noise is reckoned this much stronger in power: an overestimate costs less than an underestimate.
_SAFETY = 1.3

#: Steeper still while looking for the continuation beyond an unknown border, which is blurred anyway: fewer steps.
_OUTSIDE = 20.0


def wiener(
    image: Image,
    kernel: Kernel,
    *,
    noise: float | None = None,
    iterations: int | None = None,
    border: Continuation = "auto",
    prior: Prior = "power-law",
    balance: float | None = None,
    statistics: Statistics | None = None,
) -> Image:
    """Restore with X = conj(H) B / (|H|^2 + N/S), N/S the noise-to-signal power ratio at each frequency.

    Shape: (H, W, C), kept; result within [0, 1]. `noise`: standard deviation in [0, 1] units, rounding to 8
    bits where not given. `prior`: S is a power law A / f^p, fitted to each decorrelated colour; for
    "laplacian" N/S is K |L|^2 with L the Laplacian, for "flat" it is K. `balance` is that K; where not given,
    the noise's power over the expected one of the Laplacian, or of the gradient. An unknown border takes
    `iterations` (20) steps; a known one takes none. `statistics`: of the whole image, where this is a tile.
    Raises ImageError, KernelError or OptionError.
    """
    noise, steps = noise_level(noise), count(iterations, ITERATIONS)
    if prior not in get_args(Prior):
        raise OptionError(f"unknown prior {prior!r}; one of {', '.join(get_args(Prior))}")
    if balance is not None and (prior == "power-law" or not balance > 0):
        raise OptionError("balance: expected a positive number, and prior 'laplacian' or 'flat'")
    canvas = make_canvas(image, kernel, border, noise, np.float64 if noise < FLOAT32_NOISE else np.float32)
    rotation, laws = statistics or measure(canvas, noise)
    planes = rotate(rotation, canvas.planes, out=canvas.planes)

    def weight(grid: tuple[int, int]) -> Planes:
        return _balanced(noise_to_signal(laws, noise, grid), grid, prior, balance).astype(planes.dtype)

    ratio = weight(canvas.grid)
    edged = count_edged(laws)
    if not canvas.known and has_room(canvas) and is_near(canvas, weight):
        planes = fill_beyond(canvas, planes, lambda grid: _OUTSIDE * weight(grid), steps, edged)
    elif not canvas.known:
        spectrum = solve_colours(canvas, planes, _OUTSIDE * ratio, steps, edged)
        outside = irfft(canvas.transfer * spectrum, canvas.grid)
        outside[:, : canvas.size[0], : canvas.size[1]] = planes[:, : canvas.size[0], : canvas.size[1]]
        planes = outside
    return canvas.image(rotate(rotation.T, irfft(filter_linear(canvas, planes, ratio), canvas.grid)))


def _balanced(
    ratio: NDArray[np.floating[Any]], grid: tuple[int, int], prior: Prior, balance: float | None
) -> NDArray[np.floating[Any]]:
    """N/S by the prior, given that by the power laws. Shape: (C, H', W' // 2 + 1), kept."""
    if prior == "power-law":
        return np.float32(_SAFETY) * ratio
    gradient = gradient_power(grid)
    power = np.square(gradient) if prior == "laplacian" else (gradient > 0).astype(np.float64)
    if balance is None:
        return power / expected_energy(ratio, gradient**2 if prior == "laplacian" else gradient, grid)
    return np.broadcast_to(balance * power, ratio.shape)
