"""Pictures on disk."""

import numpy as np
import pytest

from unblur import files


@pytest.fixture(scope="session")
def draw():
    """Write a picture of the given shape, or the given pixels, and return its pixels."""
    rng = np.random.default_rng(11)

    def write(path, pixels=(12, 16, 3)):
        if isinstance(pixels, tuple):
            pixels = rng.integers(0, 256, pixels, np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.save(pixels, path)
        return pixels

    return write
