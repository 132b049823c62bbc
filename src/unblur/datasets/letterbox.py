"""Whole frames in a square network input: reduced, with black bars, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unblur.datasets.common import Depth, resize


def letterbox(image: NDArray[Depth], size: int = 256) -> NDArray[Depth]:
    """Fit the whole picture into a square, black bars on both sides of the shorter side.

    Shape: (H, W, C) in, (size, size, C) out; uint8, uint16 or float32 in [0, 1], kept. Antialiased bicubic.
    """
    top, left, height, width = _window(image.shape[0], image.shape[1], size)
    boxed = np.zeros((size, size, image.shape[2]), image.dtype)
    boxed[top : top + height, left : left + width] = resize(image, height, width)
    return boxed


def unletterbox(boxed: NDArray[Depth], height: int, width: int) -> NDArray[Depth]:
    """Cut the bars off and enlarge to the size that the picture had before `letterbox`.

    Shape: (size, size, C) in, (height, width, C) out.
    """
    top, left, rows, columns = _window(height, width, boxed.shape[0])
    return resize(boxed[top : top + rows, left : left + columns], height, width)


def _window(height: int, width: int, size: int) -> tuple[int, int, int, int]:
    """Top, left, height and width of a picture inside its box."""
    longest = max(height, width)
    rows, columns = (max(round(side * size / longest), 1) for side in (height, width))
    return (size - rows) // 2, (size - columns) // 2, rows, columns
