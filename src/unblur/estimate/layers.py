"""What the small networks of this package are made of; they run in numpy, without torch."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib import resources

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float32]


def convolved(around: Array, weight: Array, bias: Array) -> Array:
    """3x3 at every place that has neighbours, and the positive part. Shape: (C, H + 2, W + 2) to (D, H, W)."""
    windows = sliding_window_view(around, (3, 3), axis=(1, 2))  # (C, H, W, 3, 3)
    return np.maximum(np.tensordot(weight, windows, ((1, 2, 3), (0, 3, 4))) + bias[:, None, None], 0)


def halved(planes: Array) -> Array:
    """Means of 2x2 pixels; an odd row or column at the end is left out. Shape: (C, H, W) to (C, H // 2, W // 2)."""
    count, height, width = planes.shape
    even = planes[:, : height // 2 * 2, : width // 2 * 2]
    means: Array = even.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))
    return means


@lru_cache(maxsize=3)
def weights(name: str) -> dict[str, Array]:
    """The weights that come with the package under this name."""
    packed = resources.files(__package__).joinpath(f"{name}.npz").read_bytes()
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        return {name: arrays[name].astype(np.float32) for name in arrays.files}
