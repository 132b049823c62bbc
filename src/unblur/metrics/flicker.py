"""How much a restored clip flickers: how far the strength of the restoration jumps from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unblur.errors import ImageError


def change(source: NDArray[Any], restored: NDArray[Any]) -> float:
    """How much was done to a frame: the root of the mean square of restored - source, in the units of the pixels.

    Shape: any, the same for both. Raises ImageError for frames of two shapes.
    """
    if source.shape != restored.shape:
        raise ImageError(f"flicker: expected frames of one shape, got {source.shape} and {restored.shape}")
    return float(np.sqrt(np.square(np.subtract(restored, source, dtype=np.float32)).mean(dtype=np.float64)))


def jumps(changes: Iterable[float]) -> float:
    """The mean absolute difference between one frame's `change` and the next one's; 0 for less than two frames."""
    steps = [abs(after - before) for before, after in pairwise(changes)]
    return float(np.mean(steps)) if steps else 0.0


def flicker(source: Iterable[NDArray[Any]], restored: Iterable[NDArray[Any]]) -> float:
    """The mean absolute difference, from frame to frame, of the change against the source; two frames are held.

    source, restored: the frames of a clip before and after. Shape: any, the same for both. The figure has the units
    of the pixels. 0 where every frame is changed by as much as the one before. (Pixelwise differences of frames are
    no such figure: in a moving clip they are made of motion and noise.)
    Raises ImageError for frames of two shapes, and for more frames in one clip than in the other.
    """
    return jumps(_changes(source, restored))


def _changes(source: Iterable[NDArray[Any]], restored: Iterable[NDArray[Any]]) -> Iterable[float]:
    for before, after in zip_longest(source, restored):
        if before is None or after is None:
            raise ImageError("flicker: expected as many restored frames as there are in the source")
        yield change(before, after)
