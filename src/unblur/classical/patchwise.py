"""Restoration cell by cell, on patches with a margin: for blur that differs from place to place."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from unblur.errors import OptionError
from unblur.image import Image, check_image
from unblur.physics.convolve import border_index


def cell_margin(sigma: float) -> int:
    """How many pixels around its cell a patch blurred by a Gaussian of `sigma` pixels should have."""
    return max(16, 2 * math.ceil(2 * sigma))


def restore_cells(
    image: Image,
    restore: Callable[[Image, int, int], Image],
    *,
    grid: tuple[int, int] = (5, 5),
    margin: int | Callable[[int, int], int] = 16,
    feather: int = 0,
) -> Image:
    """Restore each cell of a grid on a patch that is larger by a margin, and put the cells together.

    Shape: (H, W, C), kept. `restore`: a patch and the row and column of its cell to the restored patch, of the
    same shape. `margin`: pixels of the patch around the cell, for all or by row and column; beyond the image
    it is mirrored. `feather`: pixels across a seam over which neighbours are blended linearly; 0 pastes.
    Raises OptionError for an empty grid, a feather that is wider than a margin or a cell, or a patch that
    comes back in another shape.
    """
    image = check_image(image)
    if min(grid) < 1 or feather < 0:
        raise OptionError(
            f"expected one cell or more each way and no negative feather, got {grid}, {feather}"
        )
    down, right = _edges(image.shape[0], grid[0], feather), _edges(image.shape[1], grid[1], feather)
    out = np.zeros_like(image)
    for row, tops in enumerate(pairwise(down)):
        for column, lefts in enumerate(pairwise(right)):
            if tops[0] == tops[1] or lefts[0] == lefts[1]:
                continue
            around = margin(row, column) if callable(margin) else margin
            if around < feather:
                raise OptionError(f"margin: expected at least the feather of {feather} pixels, got {around}")
            rows = border_index(image.shape[0], around, around, "reflect101")[tops[0] : tops[1] + 2 * around]
            columns = border_index(image.shape[1], around, around, "reflect101")[
                lefts[0] : lefts[1] + 2 * around
            ]
            patch = restore(image[np.ix_(rows, columns)], row, column)
            if patch.shape != (rows.size, columns.size, image.shape[2]):
                raise OptionError(
                    f"a patch of cell {row}, {column} came back in another shape, {patch.shape}"
                )
            over, weight = _spans(tops, around, feather, image.shape[0])
            across, other = _spans(lefts, around, feather, image.shape[1])
            _paste(out[over[0], across[0]], patch[over[1], across[1]], np.outer(weight, other))
    return out


def _edges(length: int, cells: int, feather: int) -> list[int]:
    """Where the cells of a line begin, and where the last one ends."""
    edges = np.linspace(0, length, cells + 1).round().astype(int)
    if feather and np.diff(edges).min() < feather:
        raise OptionError(
            f"feather: expected at most the smallest cell of {np.diff(edges).min()} pixels, got {feather}"
        )
    return [int(edge) for edge in edges]


def _spans(
    cell: tuple[int, int], around: int, feather: int, length: int
) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
    """What a cell writes of a line: where in the image and where in its patch, and with which weight.

    It fades in over the seam before it, and runs on over the one after it, for the next cell to fade in there.
    """
    before = feather // 2 if cell[0] > 0 else 0
    after = feather - feather // 2 if cell[1] < length else 0
    weight = np.ones(cell[1] - cell[0] + before + after, np.float32)
    if cell[0] > 0:
        weight[:feather] = (np.arange(feather) + 0.5) / max(feather, 1)
    start = cell[0] - before
    first = around - before
    return (slice(start, start + weight.size), slice(first, first + weight.size)), weight


def _paste(target: Image, patch: Image, weight: NDArray[np.float32]) -> None:
    """Blend a patch into the image; where the two agree, or the weight is 1, to the last bit."""
    blended = target + weight[:, :, None] * (patch - target)
    target[...] = np.where(weight[:, :, None] == 1, patch, blended)
