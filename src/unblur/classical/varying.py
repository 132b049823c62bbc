"""Blur that differs from place to place, undone as one linear model and not part by part.

Where two kernels are blended, the inverse of neither fits: that of the larger one blows up what the smaller one
left. Richardson-Lucy only ever asks how the whole model blurs, so it needs no such choice.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.classical.canvas import Planes, Spectrum, count, irfft, rfft
from unblur.classical.richardson_lucy import EPS, LEAST_SEEN, RELAXATION, Acceleration
from unblur.image import Image, check_image
from unblur.physics.blur import Blur
from unblur.physics.convolve import border_index, otf
from unblur.physics.varying import part_kernels

ITERATIONS = 20


def restore_varying(image: Image, blur: Blur, *, iterations: int | None = None) -> Image:
    """Restore a blur of kind "varying" by Richardson-Lucy, accelerated, over the blend of all its parts.

    Shape: (H, W, C), kept; result within [0, 1]. Where the weights of the parts do not sum to one, the sharp
    image makes up the rest. Beyond the border the scene is unknown, and blurred as it is at the border.
    `iterations`: 20. Raises ImageError, OptionError for a blur without parts, or a part without a `where` of the
    image's size.
    """
    image, steps = check_image(image), count(iterations, ITERATIONS)
    model = _Model(image.shape[:2], blur)
    observed = np.maximum(np.ascontiguousarray(image.transpose(2, 0, 1)), 0)
    first = np.maximum(model.mirrored(observed), EPS)
    covered = model.back(np.ones((1, *image.shape[:2]), np.float32))
    gain = RELAXATION / np.maximum(covered, LEAST_SEEN)
    kept = 1 - gain * covered
    course = Acceleration(first, on=True)
    for _ in range(steps):
        point = course.point()
        correction = model.back(observed / np.maximum(model.blur(point), EPS))
        course.advance(np.maximum(point * (gain * correction + kept), 0))
    restored: Image = np.clip(model.seen(course.estimate).transpose(1, 2, 0), 0, 1).astype(
        np.float32, order="C"
    )
    return restored


class _Model:
    """B = sum of w_p (K_p * I): a scene with room around it to the image, and the adjoint."""

    def __init__(self, shape: tuple[int, int], blur: Blur) -> None:
        kernels = part_kernels(blur, shape)
        self.shape, self.radius = shape, max((len(kernel) // 2 for kernel, _ in kernels), default=0)
        self.grid = tuple(scipy.fft.next_fast_len(side + 2 * self.radius, real=True) for side in shape)
        rest = 1 - sum((where for _, where in kernels), np.zeros(shape, np.float32))
        self.rest = np.maximum(rest, 0)
        self.parts: list[tuple[Spectrum, NDArray[np.float32]]] = [
            (otf(kernel, self.grid), where) for kernel, where in kernels
        ]

    def blur(self, scene: Planes) -> Planes:
        """(C, H', W') to (C, H, W)."""
        spectrum = rfft(scene)
        blurred = self.rest * self.seen(scene)
        for transfer, where in self.parts:
            blurred += where * self.seen(irfft(spectrum * transfer, self.grid))
        return blurred

    def back(self, planes: Planes) -> Planes:
        """(C, H, W) to (C, H', W')."""
        room = np.zeros((len(planes), *self.grid), np.float32)
        spectrum = np.zeros((len(planes), self.grid[0], self.grid[1] // 2 + 1), np.complex64)
        for transfer, where in self.parts:
            self.seen(room)[...] = where * planes
            spectrum += transfer.conj() * rfft(room)
        scene = irfft(spectrum, self.grid)
        self.seen(scene)[...] += self.rest * planes
        return scene

    def seen(self, scene: Planes) -> Planes:
        """The part of a scene that lies in the image: a view."""
        window = (slice(self.radius, self.radius + side) for side in self.shape)
        return scene[(slice(None), *window)]

    def mirrored(self, planes: Planes) -> Planes:
        """An image as a first guess of the scene."""
        for axis, (side, grid) in enumerate(zip(self.shape, self.grid, strict=True), start=1):
            planes = planes.take(
                border_index(side, self.radius, grid - side - self.radius, "reflect101"), axis
            )
        return planes
