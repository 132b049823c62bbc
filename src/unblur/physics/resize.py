"""Resizing as MATLAB's `imresize` does it: the pyramids of published systems were made with it."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

from unblur.errors import OptionError
from unblur.image import Image

Method: TypeAlias = Literal["bicubic", "bilinear"]


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' interpolation kernel with a = -0.5, support [-2, 2] (Keys 1981, eq. 15)."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(1 - np.abs(x), 0.0, None)


_KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], int]] = {
    "bicubic": (_cubic, 4),
    "bilinear": (_triangle, 2),
}


def shrink_taps(factor: int, method: Method = "bicubic", antialias: bool = True) -> NDArray[np.float64]:
    """The weights of one output pixel of `imresize` by 1/`factor`, `factor` even.

    Shape: (n,), n even, sums to 1, symmetric. Output pixel i is centred between the input pixels
    i * factor + factor / 2 - 1 and i * factor + factor / 2.
    """
    kernel, support = _KERNELS[method]
    stretch = factor if antialias else 1
    reach = support * stretch // 2
    weights = kernel((np.arange(-reach, reach) + 0.5) / stretch)
    weights /= weights.sum()
    return weights


def imresize(
    image: Image, size: tuple[int, int] | float, method: Method = "bicubic", antialias: bool = True
) -> Image:
    """Resize an image as MATLAB's `imresize` does, without its rounding and clipping.

    Shape: (H, W, C) in; (height, width) of the result, or a scale: then sides are rounded up. Bicubic has
    a = -0.5. With `antialias` the kernel is stretched by 1/scale where a side shrinks. Pixels beyond the
    border are the picture mirrored, edge pixels repeated. Bicubic can overshoot [0, 1].
    Raises OptionError for an unknown method or an empty result.
    """
    if method not in _KERNELS:
        raise OptionError(f"unknown resize method {method!r}; one of {', '.join(_KERNELS)}")
    height, width, channels = image.shape
    if isinstance(size, tuple):
        rows, columns = size
        scales = rows / height, columns / width
    else:
        scales = float(size), float(size)
        rows, columns = ceil(height * size), ceil(width * size)
    if min(rows, columns) < 1:
        raise OptionError(f"cannot resize to {rows}x{columns}; both sides must be at least 1")
    down = _weights(height, rows, scales[0], method, antialias)
    across = _weights(width, columns, scales[1], method, antialias)
    tall = (down @ image.reshape(height, -1).astype(np.float64)).reshape(rows, width, channels)
    wide = across @ tall.transpose(1, 0, 2).reshape(width, -1)
    resized: Image = wide.reshape(columns, rows, channels).transpose(1, 0, 2).astype(np.float32, order="C")
    return resized


def _weights(length: int, out: int, scale: float, method: Method, antialias: bool) -> csr_array:
    """The resampling of one side as a sparse (out, length) matrix whose rows sum to 1."""
    kernel, support = _KERNELS[method]
    stretch = 1 / scale if antialias and scale < 1 else 1.0
    centre = (np.arange(out) + 0.5) / scale - 0.5
    first = np.floor(centre - support * stretch / 2).astype(np.intp)
    taps = first[:, None] + np.arange(ceil(support * stretch) + 2)
    weights = kernel((centre[:, None] - taps) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = taps % (2 * length)
    mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
    rows = np.repeat(np.arange(out), taps.shape[1])
    return coo_array((weights.ravel(), (rows, mirrored.ravel())), shape=(out, length)).tocsr()
