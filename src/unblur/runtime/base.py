"""The seam to whatever runs a network: one method."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Backend(Protocol):
    """Something that runs a network."""

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the network. Shape: (N, C, H, W) float32 in, (N, C', H', W') float32 out."""
        ...
