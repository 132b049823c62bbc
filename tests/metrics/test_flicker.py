import numpy as np
import pytest

from unblur.errors import ImageError
from unblur.metrics.flicker import change, flicker, jumps


def test_change_is_a_root_mean_square(rng):
    frame = rng.integers(0, 200, (5, 7, 3), dtype=np.uint8)
    assert change(frame, frame + 4) == 4
    assert change(frame + 4, frame) == 4
    assert change(frame, frame) == 0


def test_a_steady_restoration_does_not_flicker(rng):
    source = [rng.integers(0, 200, (6, 8, 3), dtype=np.uint8) for _ in range(5)]
    assert flicker(source, [frame + 9 for frame in source]) == 0
    toggled = [frame + 9 * (index % 2) for index, frame in enumerate(source)]
    assert flicker(iter(source), iter(toggled)) == 9


def test_jumps_between_neighbours():
    assert jumps([1, 3, 2]) == 1.5
    assert jumps([1]) == jumps([]) == 0


def test_frames_must_fit():
    frame = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ImageError, match="one shape"):
        flicker([frame], [frame[:2]])
    with pytest.raises(ImageError, match="as many"):
        flicker([frame, frame], [frame])
