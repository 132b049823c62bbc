"""What the small networks of this package are made of; they run in numpy, without torch."""

from __future__ import annotations

import io
from collections.abc import Mapping
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


def pooled(planes: Array, known: Mapping[str, Array]) -> Array:
    """Six convolutions, halved behind the second and the fourth; the mean and the root mean square of what they see.

    Shape: (C, H, W) in, (2 D,) out. known: has their weights as `convolutions.0.weight` and so on.
    """
    for layer in range(6):
        around = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
        weight, bias = (known[f"convolutions.{layer}.{part}"] for part in ("weight", "bias"))
        planes = convolved(around, weight, bias)
        if layer in (1, 3):
            planes = _halved(planes)
    return np.concatenate([planes.mean((1, 2)), np.sqrt(np.square(planes).mean((1, 2)) + 1e-6)])


def _halved(planes: Array) -> Array:
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
