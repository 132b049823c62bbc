"""Blur that differs from place to place."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from unblur.errors import KernelError, OptionError
from unblur.image import Image
from unblur.physics.blur import Blur, Kernel
from unblur.physics.convolve import Border, convolve
from unblur.physics.kernels import embed, from_parameters, motion


def blur_image(image: Image, blur: Blur, *, border: Border = "reflect101") -> Image:
    """Apply a blur: a kernel everywhere, a kernel within `where`, or several parts blended.

    Shape: (H, W, C), kept. Blending weighs the blurred images, so the kernel at a pixel is the weighted mean of
    the parts' kernels. A blur without its kernel gets the one of its parameters. Its noise is not added.
    Raises KernelError for a blur without kernel or parameters, OptionError where `where` has another shape or
    a part of a varying blur has none.
    """
    if blur.kind == "varying":
        if not blur.parts or any(part.where is None for part in blur.parts):
            raise OptionError("a varying blur needs parts, each with its `where`")
        blurred = np.zeros_like(image)
        for part in blur.parts:
            _add_part(blurred, image, part, border)
    else:
        kernel = _kernel(blur)
        blurred = image if kernel is None else convolve(image, kernel, border=border)
    if blur.where is None:
        return blurred
    return image + _check_where(blur.where, image)[:, :, None] * (blurred - image)


def convolve_grid(image: Image, kernels: NDArray[np.float32], *, border: Border = "reflect101") -> Image:
    """Convolve with a grid of kernels, each at the centre of its cell and blended smoothly in between.

    Shape: image (H, W, C), kept; kernels (rows, columns, k, k), k odd. The weights are `grid_weights`.
    Raises KernelError for another shape.
    """
    if kernels.ndim != 4:
        raise KernelError(f"kernels: expected shape (rows, columns, k, k), got {kernels.shape}")
    down = grid_weights(image.shape[0], kernels.shape[0])
    right = grid_weights(image.shape[1], kernels.shape[1])
    blurred = np.zeros_like(image)
    for row, weights in zip(kernels, down, strict=True):
        for kernel, other in zip(row, right, strict=True):
            rows, columns = _support(weights), _support(other)
            weight = np.outer(weights[rows], other[columns])
            _add_region(blurred, image, kernel, rows, columns, weight, border)
    return blurred


def grid_blur(kernels: NDArray[np.float32], shape: tuple[int, int]) -> Blur:
    """The blur of `convolve_grid` on images of `shape` (H, W): one part for each kernel."""
    down, right = grid_weights(shape[0], kernels.shape[0]), grid_weights(shape[1], kernels.shape[1])
    parts = (
        Blur("kernel", kernel=kernel, where=np.outer(weights, other))
        for row, weights in zip(kernels, down, strict=True)
        for kernel, other in zip(row, right, strict=True)
    )
    return Blur("varying", parts=tuple(parts))


def grid_weights(length: int, cells: int) -> NDArray[np.float32]:
    """How much each of `cells` equal cells weighs at each pixel of a line: raised cosines that sum to 1.

    Shape: (cells, length). A cell weighs 1 at its centre and 0 from its neighbours' centres on.
    """
    at = np.clip((np.arange(length) + 0.5) * cells / length - 0.5, 0, cells - 1)
    near = np.clip(1 - np.abs(at - np.arange(cells)[:, None]), 0, 1)
    weights: NDArray[np.float32] = (0.5 - 0.5 * np.cos(np.pi * near)).astype(np.float32)
    return weights


def rotation_zoom(
    shape: tuple[int, int],
    grid: tuple[int, int],
    *,
    rotation: float = 0.0,
    zoom: float = 1.0,
    centre: tuple[float, float] = (0.5, 0.5),
) -> NDArray[np.float32]:
    """Motion kernels of a camera that rolls or zooms during the exposure, for `convolve_grid` or `grid_blur`.

    Shape: (rows, columns, k, k) for `grid` (rows, columns) on images of `shape` (H, W). `rotation` in degrees
    counter-clockwise and `zoom` as a magnification, both from start to end; `centre` is the fixed point as
    (x, y) in units of width and height, y down. Each kernel is the chord of the path of its cell's centre.
    Raises KernelError for a zoom that is not positive.
    """
    if not zoom > 0:
        raise KernelError(f"zoom: expected a positive magnification, got {zoom}")
    x = ((np.arange(grid[1]) + 0.5) / grid[1] - centre[0]) * shape[1]
    up = (centre[1] - (np.arange(grid[0]) + 0.5) / grid[0]) * shape[0]
    half = np.exp(0.5 * (math.log(zoom) + 1j * math.radians(rotation)))
    paths = (x + 1j * up[:, None]) * (half - 1 / half)
    lines = [motion(abs(path), math.degrees(np.angle(path))) for path in paths.ravel()]
    size = max(line.shape[0] for line in lines)
    return np.stack([embed(line, size) for line in lines]).reshape(*grid, size, size)


def part_kernels(blur: Blur, shape: tuple[int, int]) -> list[tuple[Kernel, NDArray[np.float32]]]:
    """The kernels that a varying blur blends on images of `shape` (H, W), each with its weights (H, W).

    Parts that blur nothing are left out. Raises OptionError for a blur without parts, or a part without a `where`
    of that shape; KernelError for one without kernel or parameters.
    """
    if not blur.parts:
        raise OptionError("a varying blur needs parts, each with its `where`")
    found: list[tuple[Kernel, NDArray[np.float32]]] = []
    for part in blur.parts:
        if part.where is None or part.where.shape != shape:
            raise OptionError(f"a part needs a `where` of the image's size, {shape}")
        where = part.where.astype(np.float32, copy=False)
        if part.kind == "varying":
            found += [(kernel, where * weight) for kernel, weight in part_kernels(part, shape)]
            continue
        kernel = _kernel(part)
        if kernel is not None:
            found.append((kernel, where))
    return found


def _kernel(blur: Blur) -> Kernel | None:
    if blur.kind == "none":
        return None
    return blur.kernel if blur.kernel is not None else from_parameters(blur.kind, blur.parameters)


def _check_where(where: NDArray[np.float32], image: Image) -> NDArray[np.float32]:
    if where.shape != image.shape[:2]:
        raise OptionError(f"where: expected the image's shape {image.shape[:2]}, got {where.shape}")
    return where.astype(np.float32, copy=False)


def _add_part(blurred: Image, image: Image, part: Blur, border: Border) -> None:
    assert part.where is not None
    where = _check_where(part.where, image)
    if part.kind == "varying":
        blurred += where[:, :, None] * blur_image(image, replace(part, where=None), border=border)
        return
    rows, columns = _support(where.max(axis=1)), _support(where.max(axis=0))
    _add_region(blurred, image, _kernel(part), rows, columns, where[rows, columns], border)


def _add_region(
    blurred: Image,
    image: Image,
    kernel: Kernel | None,
    rows: slice,
    columns: slice,
    weight: NDArray[np.float32],
    border: Border,
) -> None:
    """Add `weight` times the convolved image to `blurred` in `rows` and `columns`, computing only there."""
    if kernel is None:
        region = image[rows, columns]
    elif border == "circular":  # reads the opposite side of the image
        region = convolve(image, kernel, border=border)[rows, columns]
    else:
        radius = kernel.shape[0] // 2
        top, left = max(rows.start - radius, 0), max(columns.start - radius, 0)
        around = image[top : rows.stop + radius, left : columns.stop + radius]
        region = convolve(around, kernel, border=border)
        region = region[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    blurred[rows, columns] += weight[:, :, None] * region


def _support(weights: NDArray[np.generic]) -> slice:
    """From the first to the last place where `weights` is not zero."""
    places = np.flatnonzero(weights)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, 0)
