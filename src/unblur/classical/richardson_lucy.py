"""Richardson-Lucy deconvolution: positive, keeps flux, and stops before it fits the noise."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from unblur.classical.canvas import (
    Canvas,
    Continuation,
    Planes,
    Spectrum,
    count,
    in_strips,
    irfft,
    make_canvas,
    noise_level,
    rfft,
)
from unblur.errors import OptionError
from unblur.image import Image
from unblur.physics.blur import Kernel

Start: TypeAlias = Literal["observed", "flat"]

ITERATIONS = 10

#: Smallest value that is divided by, in [0, 1] units.
EPS = np.float32(1e-7)

#: Share of the light that must have been seen for a correction to be scaled up in full.
LEAST_SEEN = 1e-3

#: How much further than a plain step an accelerated one goes; from 4/3 on, momentum no longer forgives it.
RELAXATION = 1.25

#: Sharpness of White's damping threshold.
_DAMPING_POWER = 10


def richardson_lucy(
    image: Image,
    kernel: Kernel,
    *,
    noise: float | None = None,
    iterations: int | None = None,
    border: Continuation = "auto",
    accelerated: bool = True,
    damping: float = 0.0,
    start: Start = "observed",
) -> Image:
    """Restore by o <- o . h~ * (b / (h * o)), `iterations` times (10).

    Shape: (H, W, C), kept; result within [0, 1]. `accelerated`: momentum and longer steps, by which nine go as
    far as some thirty plain ones. `damping`: where the blurred restoration is within that many times `noise` of
    the image, it is left alone (White, "Image restoration using the damped Richardson-Lucy method", 1994); 0 is
    off. `start`: from the image, or from a constant 0.5 as in scikit-image.
    Raises ImageError, KernelError or OptionError. Source: Richardson 1972, Lucy 1974.
    """
    noise, steps = noise_level(noise), count(iterations, ITERATIONS)
    if not 0 <= damping < float("inf"):
        raise OptionError(f"damping: expected 0 or more, got {damping}")
    if start not in get_args(Start):
        raise OptionError(f"unknown start {start!r}; one of {', '.join(get_args(Start))}")
    canvas = make_canvas(image, kernel, border, noise, inverse=False)
    observed = np.maximum(canvas.planes, 0)
    first = np.maximum(observed, EPS) if start == "observed" else np.full_like(observed, 0.5)
    step = ImageStep(canvas, observed, damping * noise, relaxed=accelerated)
    course = Acceleration(first, accelerated)
    for _ in range(steps):
        course.advance(step(course.point()))
    return canvas.image(course.estimate)


class ImageStep:
    """One step of Richardson-Lucy for the image, from an estimate (C, H', W') to the next; relaxed, a longer one.

    Where the border is unknown, pixels that were not seen have no say, and h~ * 1 is taken over those that were
    (Bertero and Boccacci, "A simple method for the reduction of boundary effects in the Richardson-Lucy
    approach to image deconvolution", 2005).
    """

    def __init__(self, canvas: Canvas, observed: Planes, threshold: float, *, relaxed: bool) -> None:
        self.canvas, self.observed, self.threshold = canvas, observed, np.float32(threshold)
        self.relaxation = np.float32(RELAXATION if relaxed else 1)
        self.seen: Spectrum | None = None
        if not canvas.known:
            seen = np.zeros((1, *canvas.grid), np.float32)
            seen[:, : canvas.size[0], : canvas.size[1]] = 1
            self.seen = rfft(seen)
        self.set_transfer(canvas.transfer)

    def set_transfer(self, transfer: Spectrum) -> None:
        """Change the kernel to the one of this transfer function."""
        self.transfer, self.back = transfer, transfer.conj()
        if self.seen is not None:
            coverage = irfft(self.seen * self.back, self.canvas.grid)
            self.gain = 1 / np.maximum(coverage, LEAST_SEEN)
            self.unseen = 1 - self.gain * coverage

    def __call__(self, estimate: Planes) -> Planes:
        """The next estimate."""
        spectrum = self.ratio(rfft(estimate))
        spectrum *= self.back
        correction = irfft(spectrum, self.canvas.grid)

        def correct(rows: slice) -> None:
            part = correction[:, rows]
            if self.seen is not None:
                part *= self.gain[:, rows]
                part += self.unseen[:, rows]
            if self.relaxation != 1:
                part *= self.relaxation
                part += 1 - self.relaxation
            part *= estimate[:, rows]
            np.maximum(part, 0, out=part)

        in_strips(correct, correction, 2)
        return correction

    def ratio(self, spectrum: Spectrum) -> Spectrum:
        """Spectrum of the observed over the blurred estimate, given the estimate's, which it uses up."""
        spectrum *= self.transfer
        ratio = irfft(spectrum, self.canvas.grid)
        in_strips(lambda rows: self._compare(ratio, rows), ratio, 2)
        return rfft(ratio)

    def _compare(self, ratio: Planes, rows: slice) -> None:
        """Turn rows of the blurred estimate into those of the observed over it."""
        part, observed = ratio[:, rows], self.observed[:, rows]
        np.maximum(part, EPS, out=part)
        if self.threshold > 0:
            near = np.minimum(np.square((part - observed) / self.threshold), 1)
            n = _DAMPING_POWER
            weight = near ** (n - 1) * (n - (n - 1) * near)
            np.divide(observed, part, out=part)
            part += (1 - weight) * (1 - part)
        else:
            np.divide(observed, part, out=part)
        if self.seen is not None:
            part[:, max(self.canvas.size[0] - rows.start, 0) :] = 0
            part[:, :, self.canvas.size[1] :] = 0


class Acceleration:
    """Momentum for a fixed-point iteration over non-negative planes.

    Each step starts from a point beyond the last estimate, along the last move, by a share that grows with the
    steps alone and so is the same for a tile and for the whole. Wang and Miller, "Scaled heavy-ball acceleration
    of the Richardson-Lucy algorithm for 3D microscopy image restoration" (2014). Off, it hands on the estimates.
    """

    def __init__(self, first: Planes, on: bool) -> None:
        self.estimate, self.on = first, on
        self.last = first
        self.steps = 0

    def point(self) -> Planes:
        """Where the next step starts."""
        if not self.on or self.steps < 2:
            return self.estimate
        share = np.float32((self.steps - 1) / (self.steps + 1))
        point = np.empty_like(self.estimate)

        def extrapolate(rows: slice) -> None:
            part = np.subtract(self.estimate[:, rows], self.last[:, rows], out=point[:, rows])
            part *= share
            part += self.estimate[:, rows]
            np.maximum(part, 0, out=part)

        in_strips(extrapolate, point, 3)
        return point

    def advance(self, estimate: Planes) -> None:
        """Take the result of the step from `point`."""
        self.last, self.estimate = self.estimate, estimate
        self.steps += 1
