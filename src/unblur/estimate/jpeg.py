"""What JPEG compression took from a picture, read from its pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from unblur.image import Image, luma
from unblur.metadata import quality_scale, scale_quality
from unblur.threads import spread

#: Luminance quantisation of ITU-T T.81, table K.1: what quality 50 divides by.
_STANDARD = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float64,
)

#: The frequencies at which steps are looked for, and how large these may be.
_LOOKED_AT = [(u, v) for u in range(4) for v in range(4) if 0 < u + v < 5]
_STEPS = np.arange(2, 100)

#: Coefficients must lie on multiples of a step this clearly (1 is exactly), and by so many standard deviations. Those
#: of the finest step are scattered by rounding and by colours of half the resolution: 0.4 to 0.5.
_CLEAR, _CLEAR_FINEST, _SURE = 0.5, 0.35, 6.0

#: At so many frequencies.
_LEAST = 3

#: The largest part of a picture that is looked at, on a side.
_SIDE = 768


#: What a quality leaves behind in blurred photographs, in 8-bit levels: this much times the scale of the standard
#: table, and what halved colour resolution and rounding do beside it.
_LEVELS, _ROUNDED = 3.9, 0.5


class Jpeg(NamedTuple):
    """A compression that was found. quality: 1 to 100, of the standard table that comes nearest.

    noise: standard deviation of what it added at the frequencies that it kept, in [0, 1] units. corner: the first row
    and the first column that begin a block, 0 to 7.
    """

    quality: int
    noise: float
    corner: tuple[int, int] = (0, 0)


def jpeg(image: Image) -> Jpeg | None:
    """Tell whether a picture was compressed by JPEG, now or before it was cut or saved otherwise, and how much.

    Shape: (H, W, C). The coefficients of its blocks then lie on multiples of the quantisation's steps. None where
    that is not so, as in a picture under 64 pixels on a side, or after it was resized.
    Source: Fan and de Queiroz, "Identification of bitmap compression history" (2003).
    """
    plane = 255 * luma(image).astype(np.float64)
    height, width = plane.shape
    if min(height, width) < 64:
        return None
    top, left = max(height - _SIDE, 0) // 2, max(width - _SIDE, 0) // 2
    plane = plane[top : top + _SIDE, left : left + _SIDE]
    # A picture that was not cut has its blocks where they were.
    for phase in dict.fromkeys([(-top % 8, -left % 8), (_phase(plane), _phase(plane.T))]):
        if (one := _of_blocks(plane[phase[0] :, phase[1] :])) is not None:
            return one._replace(corner=((top + phase[0]) % 8, (left + phase[1]) % 8))
    return None


def _of_blocks(plane: NDArray[np.float64]) -> Jpeg | None:
    """The compression of a plane that begins with a block, or None."""
    down, right = plane.shape[0] // 8, plane.shape[1] // 8
    blocks = plane[: 8 * down, : 8 * right].reshape(down, 8, right, 8).transpose(0, 2, 1, 3)
    coefficients = scipy.fft.dctn(blocks, axes=(2, 3), norm="ortho").reshape(-1, 8, 8)
    steps_seen = spread(_step, [coefficients[:, down, right] for down, right in _LOOKED_AT])
    found = {at: step for at, step in zip(_LOOKED_AT, steps_seen, strict=True) if step}
    if len(found) < _LEAST:
        return None
    scale = float(np.median([step / _STANDARD[at] for at, step in found.items()]))
    steps = np.maximum(np.round(scale * _STANDARD), 1)
    for at, step in found.items():
        steps[at] = step
    kept = np.count_nonzero(np.abs(coefficients) > steps / 2, axis=0).astype(np.float64)
    kept[0, 0] = 0
    variance = float((kept * steps**2).sum() / max(kept.sum(), 1)) / 12
    return Jpeg(int(np.clip(round(scale_quality(scale)), 1, 100)), variance**0.5 / 255)


def quality_noise(quality: int) -> float:
    """Standard deviation of the error of a JPEG of that quality (1 to 100) in a blurred photograph; [0, 1] units."""
    return float(np.hypot(_LEVELS * quality_scale(quality), _ROUNDED)) / 255


def _phase(plane: NDArray[np.float64]) -> int:
    """The row, 0 to 7, at which blocks begin: neighbours differ most across their edges."""
    steps = np.abs(np.diff(plane, axis=0)).mean(axis=1)
    excess = steps[1:-1] - (steps[:-2] + steps[2:]) / 2  # between rows r + 1 and r + 2
    excess = excess[: len(excess) // 8 * 8].reshape(-1, 8).mean(axis=0)
    return (int(np.argmax(excess)) + 2) % 8


def _step(values: NDArray[np.float64]) -> int:
    """The largest step on whose multiples the coefficients lie, or 0."""
    sizes = np.abs(values)
    for step in _STEPS[::-1]:
        far = sizes[sizes > step / 2]
        on = np.cos(2 * np.pi / step * far).mean() if far.size else 0.0
        if on > (_CLEAR_FINEST if step == _STEPS[0] else _CLEAR) and on * np.sqrt(2 * far.size) > _SURE:
            return int(step)
    return 0
