"""Pictures that several tests of estimates need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from unblur.datasets.common import resize

Thumbnails = Callable[[int, int], list[NDArray[np.uint8]]]


@pytest.fixture(scope="session")
def reduced() -> Thumbnails:
    """Draws so many pictures of 32x32, by a seed; reduced by area from public-domain photographs."""
    from skimage import data as pictures

    whole = [pictures.astronaut(), pictures.coffee(), pictures.chelsea(), pictures.rocket()]

    def draw(count: int, seed: int) -> list[NDArray[np.uint8]]:
        rng = np.random.default_rng(seed)
        found = []
        for number in range(count):
            picture = whole[number % 4]
            top, left = (int(rng.integers(0, side - 160)) for side in picture.shape[:2])
            found.append(resize(picture[top : top + 160, left : left + 160], 32, 32))
        return found

    return draw
