"""Mean squared error, mean absolute error and peak signal-to-noise ratio."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unblur.errors import ImageError, OptionError

#: Samples that are held as float64 at a time, so that a picture of any size is compared in a few megabytes.
BLOCK = 1 << 18


def mse(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean of (a - b)^2 over every sample, in float64.

    Shape: any, equal. Units: those of the inputs, squared.
    Raises ImageError for shapes that differ or hold nothing.
    """
    a, b = check_pair(a, b)
    return sum(float(np.square(d, out=d).sum()) for d in _differences(a, b)) / a.size


def mae(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Mean of |a - b| over every sample, in float64.

    Shape: any, equal. Units: those of the inputs.
    Raises ImageError for shapes that differ or hold nothing.
    """
    a, b = check_pair(a, b)
    return sum(float(np.abs(d, out=d).sum()) for d in _differences(a, b)) / a.size


def psnr(a: NDArray[Any], b: NDArray[Any], *, data_range: float) -> float:
    """Peak signal-to-noise ratio, 10 log10(data_range^2 / MSE), in dB; infinite for equal inputs.

    Shape: any, equal. `data_range`: white minus black, 1 for an image, 255 for uint8.
    Raises ImageError for shapes that differ, OptionError for a range that is not positive.
    """
    return psnr_of_mse(mse(a, b), data_range=data_range)


def psnr_of_mse(error: float, *, data_range: float) -> float:
    """PSNR in dB of a mean squared error, infinite for 0.

    The PSNR of a mean MSE over a data set is a lower number than the mean of its PSNRs.
    Raises OptionError for a negative error or a range that is not positive.
    """
    if error < 0:
        raise OptionError(f"a mean squared error cannot be negative, got {error:g}")
    check_data_range(data_range)
    return math.inf if error == 0 else 10 * math.log10(data_range**2 / error)


def check_pair(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as arrays of at least one axis; raises ImageError unless the shapes agree and hold samples."""
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    if a.shape != b.shape:
        raise ImageError(f"only pictures of equal shape can be compared, got {a.shape} and {b.shape}")
    if a.size == 0:
        raise ImageError(f"nothing to compare in pictures of shape {a.shape}")
    return a, b


def check_data_range(data_range: float) -> None:
    """Raise OptionError unless `data_range` is positive and finite."""
    if not 0 < data_range < math.inf:
        raise OptionError(f"data_range must be positive, got {data_range:g}; 1 for an image, 255 for uint8")


def _differences(a: NDArray[Any], b: NDArray[Any]) -> Iterator[NDArray[np.float64]]:
    step = max(1, BLOCK * len(a) // a.size)
    for start in range(0, len(a), step):
        yield np.subtract(a[start : start + step], b[start : start + step], dtype=np.float64)
