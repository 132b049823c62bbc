"""A backend for tests: any function in place of a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


class FakeBackend:
    """Runs `function` and remembers the shape of every batch that it was given.

    function: (N, C, H, W) float32 to (N, C, H, W) float32; the identity where none is given.
    """

    def __init__(self, function: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None) -> None:
        self._function = function
        self.shapes: list[tuple[int, ...]] = []

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the function. Shape: (N, C, H, W) in and out."""
        self.shapes.append(batch.shape)
        return batch.copy() if self._function is None else self._function(batch)
