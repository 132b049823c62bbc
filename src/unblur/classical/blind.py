"""Maximum-likelihood blind deconvolution: the image and its kernel by turns."""

from __future__ import annotations

from typing import Any

import numpy as np

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
from unblur.classical.richardson_lucy import EPS, LEAST_SEEN, Acceleration, ImageStep
from unblur.image import Image
from unblur.physics.blur import Kernel
from unblur.physics.convolve import otf
from unblur.physics.kernels import check_kernel

ITERATIONS = 10


def blind_deconvolution(
    image: Image,
    kernel: Kernel,
    *,
    noise: float | None = None,
    iterations: int | None = None,
    border: Continuation = "unknown",
    accelerated: bool = True,
) -> tuple[Image, Kernel]:
    """Find the image and the kernel that make the observation likeliest, from a first guess of the kernel.

    Shape: image (H, W, C), kept, within [0, 1]; kernel (k, k), kept, non-negative, sums to 1, the same for all
    colours. The size of the guess matters more than its weights: the kernel found lies within it. Each of the
    `iterations` (10) is one Richardson-Lucy step for the image and one for the kernel, both accelerated.
    `noise`, in [0, 1] units, serves only to tell an "auto" border.
    Raises ImageError, KernelError or OptionError. Source: Fish, Brinicombe, Pike and Walker, "Blind
    deconvolution by means of the Richardson-Lucy algorithm" (1995).
    """
    kernel, steps = check_kernel(kernel), count(iterations, ITERATIONS)
    canvas = make_canvas(image, kernel, border, noise_level(noise), inverse=False)
    observed = np.maximum(canvas.planes, 0)
    image_step = ImageStep(canvas, observed, 0, relaxed=False)
    seen = rfft(np.ones_like(observed[:1])) if image_step.seen is None else image_step.seen
    images = Acceleration(observed, accelerated)
    kernels = Acceleration(kernel[None], accelerated)
    for _ in range(steps):
        images.advance(image_step(images.point()))
        point = _normalised(kernels.point())
        image_step.set_transfer(otf(point[0], canvas.grid))
        spectrum = rfft(images.estimate)
        back = spectrum.conj()
        correction = _correlated(image_step.ratio(spectrum) * back, canvas, kernel)
        weight = _correlated(seen * back, canvas, kernel)
        correction /= np.maximum(weight, max(LEAST_SEEN * weight.max(), EPS))
        kernels.advance(_normalised(point * np.maximum(correction, 0)))
        image_step.set_transfer(otf(kernels.estimate[0], canvas.grid))
    return canvas.image(images.estimate), check_kernel(kernels.estimate[0])


def _correlated(spectrum: Spectrum, canvas: Canvas, kernel: Kernel) -> Planes:
    """The part of a correlation that a kernel of that shape can explain, summed over colours. Shape: (1, k, k)."""
    rows, columns = (np.arange(side) - side // 2 for side in kernel.shape)
    plane = irfft(spectrum.sum(axis=0, keepdims=True), canvas.grid)
    return plane[:, rows[:, None] % canvas.grid[0], columns % canvas.grid[1]]


def _normalised(kernel: Planes) -> Planes:
    total: np.floating[Any] = kernel.sum()
    return kernel / total if total > 0 else np.full_like(kernel, 1 / kernel.size)
