"""The Wiener filter: the best linear restoration of an image in noise, given its power spectrum."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from unblur.classical.canvas import (
    Canvas,
    Continuation,
    Planes,
    Spectrum,
    count,
    irfft,
    make_canvas,
    noise_level,
    rfft,
)
from unblur.classical.prior import (
    Statistics,
    expected_energy,
    gradient_power,
    measure,
    noise_to_signal,
    rotate,
)
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

#: Below this noise, float32 transforms would be heard.
_QUIET = 1e-4


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
    canvas = make_canvas(image, kernel, border, noise, np.float64 if noise < _QUIET else np.float32)
    rotation, laws = statistics or measure(canvas, noise)
    planes = rotate(rotation, canvas.planes)
    ratio = _balanced(noise_to_signal(laws, noise, canvas.grid), canvas.grid, prior, balance)
    ratio = ratio.astype(planes.dtype)
    if not canvas.known:
        outside = irfft(canvas.transfer * solve_linear(canvas, planes, _OUTSIDE * ratio, steps), canvas.grid)
        outside[:, : canvas.size[0], : canvas.size[1]] = planes[:, : canvas.size[0], : canvas.size[1]]
        planes = outside
    return canvas.image(rotate(rotation.T, irfft(filter_linear(canvas, planes, ratio), canvas.grid)))


def filter_linear(canvas: Canvas, planes: Planes, ratio: Planes) -> Spectrum:
    """Spectra of the planes that minimise |h * x - b|^2 + sum of ratio |X|^2 over the whole canvas.

    planes: (C, H', W'). ratio and result: (C, H', W' // 2 + 1).
    """
    spectrum = rfft(planes)
    spectrum *= canvas.transfer.conj()
    spectrum /= np.maximum(np.square(np.abs(canvas.transfer)) + ratio, np.finfo(ratio.dtype).tiny)
    return spectrum


def solve_linear(canvas: Canvas, planes: Planes, ratio: Planes, steps: int) -> Spectrum:
    """The same minimum, with |h * x - b|^2 over the image's own pixels where the border is unknown.

    By conjugate gradients, preconditioned and started by `filter_linear`.
    """
    x = filter_linear(canvas, planes, ratio)
    if canvas.known:
        return x
    high, wide = canvas.size
    transfer, back = canvas.transfer, canvas.transfer.conj()
    filtering = 1 / np.maximum(np.square(np.abs(transfer)) + ratio, np.finfo(ratio.dtype).tiny)
    unpaired = (0, -1) if canvas.grid[1] % 2 == 0 else (0,)

    def seen(planes: Planes) -> Spectrum:
        planes[:, high:] = 0
        planes[:, :, wide:] = 0
        spectrum = rfft(planes)
        spectrum *= back
        return spectrum

    def dot(a: Spectrum, b: Spectrum) -> NDArray[np.floating[Any]]:
        """Inner product of each pair of planes: all columns count twice, but for those without a mirror image."""
        sums = [
            2 * np.vdot(p, q).real - sum(np.vdot(p[:, edge], q[:, edge]).real for edge in unpaired)
            for p, q in zip(a, b, strict=True)
        ]
        return np.maximum(sums, np.finfo(ratio.dtype).tiny).astype(ratio.dtype)[:, None, None]

    residual = seen(planes - irfft(transfer * x, canvas.grid))
    residual -= ratio * x
    direction = filtering * residual
    now = dot(residual, direction)
    for _ in range(steps):
        applied = seen(irfft(transfer * direction, canvas.grid))
        applied += ratio * direction
        length = now / dot(direction, applied)
        x += length * direction
        applied *= length
        residual -= applied
        conditioned = np.multiply(filtering, residual, out=applied)
        before, now = now, dot(residual, conditioned)
        direction *= now / before
        direction += conditioned
    return x


def _balanced(
    ratio: NDArray[np.float64], grid: tuple[int, int], prior: Prior, balance: float | None
) -> NDArray[np.float64]:
    """N/S by the prior, given that by the power laws. Shape: (C, H', W' // 2 + 1), kept."""
    if prior == "power-law":
        return _SAFETY * ratio
    gradient = gradient_power(grid)
    power = np.square(gradient) if prior == "laplacian" else (gradient > 0).astype(np.float64)
    if balance is None:
        return power / expected_energy(ratio, gradient**2 if prior == "laplacian" else gradient, grid)
    return np.broadcast_to(balance * power, ratio.shape)
