"""How far an estimated blur kernel is from the true one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unblur.errors import KernelError


def kernel_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Sum of squared differences of two kernels, centred in the larger support.

    Shape: (k, k) each, k odd. For two kernels that sum to 1 the distance lies in [0, 2].
    Raises KernelError for a kernel that is not two-dimensional or has no middle pixel.
    """
    for kernel in (a, b):
        if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
            raise KernelError(f"a kernel must have two odd sides to have a centre, got shape {kernel.shape}")
    height, width = np.maximum(a.shape, b.shape)
    difference = np.zeros((height, width))
    for kernel, sign in ((a, 1), (b, -1)):
        top, left = (height - kernel.shape[0]) // 2, (width - kernel.shape[1]) // 2
        difference[top : top + kernel.shape[0], left : left + kernel.shape[1]] += sign * kernel.astype(
            np.float64
        )
    return float(np.square(difference).sum())
