"""Whether a picture was enlarged: then its fine detail was never there, and no blur took it.

Between the pixels that it was made from, an enlarged picture is smoother than at them. So the size of its differences
varies along rows and columns, with a period that the factor fixes: 2 pixels where it was doubled, 3 where it was made
one and a half times or three times as large (Gallagher, "Detection of linear and cubic interpolation in JPEG compressed
images", 2005). Differences of odd and of even order are looked at: where a doubled picture's phases mirror each other
those of one differ, where they do not those of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from unblur.estimate.jpeg import Jpeg
from unblur.image import Image, luma
from unblur.threads import spread

Plane: TypeAlias = NDArray[np.float32]

#: Frequencies that tell, cycles a pixel: below lie factors under 1.25, which blur too little to matter.
_LEAST = 0.19

#: Of the differences of an order, what must be reached at a frequency: times the median of all frequencies, and in the
#: logarithm of the differences. Photographs made 1.3 to 3 times as large had 9 to 150 and 0.03 to 0.6, of the third or
#: of the fourth order; 700 others had 3.6 at most, or 8 and 0.03. Repeated pixels show in plain differences.
_ASKED = ((3, 6.0, 0.03), (4, 6.0, 0.03), (1, 8.0, 0.2))

#: Mosaics of colours leave up to 0.06 in the fourth order, every other pixel: from here on it is none.
_NO_MOSAIC = 0.1

#: The blocks of JPEG show at eighths: there the trace must be so many times those at the eighths that an enlargement by
#: that factor does not have.
_ABOVE = 3.0
_OTHERS = {2: (1, 3), 3: (1, 4), 4: (1, 2, 3)}

#: Second differences inside the blocks of JPEG: how many these are, the trace, and how far every other one is larger
#: than those between, in the logarithm. Photographs in JPEG of 75 to 95 had up to 4.0 times the median, and 0.005;
#: doubled ones 0.012 and more at 95, one and a half and three times as large ones mostly 5 times and more.
_INSIDE, _CLEAR_INSIDE, _DEEP_INSIDE, _EVERY_OTHER = 6, 5.0, 0.02, 0.008

#: The least side of a picture that tells, and the largest part of one that is looked at; so long is the transform.
_SIDE, _LENGTH = 64, 1024

#: The side under which more must show, in proportion.
_SMALL = 256

_TINY = 1e-6

#: A difference of less than this is none, in [0, 1] units: rounding.
_ROUNDING = np.float32(1 / 255)

#: Pixels over which the size of the differences may change without a period; of those inside blocks.
_SLOWLY, _SLOWLY_INSIDE = 4.0, 6.0


def resampling(image: Image, compressed: Jpeg | None = None) -> float | None:
    """The frequency, cycles a pixel, at which an enlarged picture's differences vary; None for no trace of it.

    Enlarging by z leaves 1 / z, or 1 - 1 / z where z is below 2; shrinking by little may leave 1 / z - 1. Noise that
    came later hides it, and JPEG may. Shape: (H, W, C). compressed: the JPEG compression that was found.
    """
    top, left = (max(side - _LENGTH, 0) // 2 for side in image.shape[:2])
    plane = luma(image[top : top + _LENGTH, left : left + _LENGTH])
    if min(plane.shape) < _SIDE:
        return None
    for order, least, depth in _ASKED:
        if (found := _between_pixels(plane, order, least, depth)) is not None:
            return found
    if compressed is None:
        return None
    corner = ((compressed.corner[0] - top) % 8, (compressed.corner[1] - left) % 8)
    return _inside_blocks(plane, corner)


def _between_pixels(plane: Plane, order: int, least: float, depth: float) -> float | None:
    traces = spread(lambda each: _trace(_sizes(each, order)), (plane, plane.T))
    deep, clear = np.minimum(*traces), _clear(traces)
    eighths = [k * _LENGTH // 8 for k in range(5)]
    tells = _FREQUENCIES > _LEAST
    wide = 2 * _LENGTH // min(plane.shape)  # of a line in the transform of so few pixels
    for at in eighths:
        tells[max(at - wide, 0) : at + wide + 1] = False
    for k, others in _OTHERS.items():
        tells[eighths[k]] = clear[eighths[k]] > _ABOVE * max(clear[eighths[other]] for other in others)
    tells &= deep > depth
    tells[-1] &= deep[-1] > _NO_MOSAIC
    return _clearest(np.where(tells, clear, 0), least * _more(plane))


def _inside_blocks(plane: Plane, corner: tuple[int, int]) -> float | None:
    """As above, where edges of blocks do not count. corner: the first row and the first column that begin a block."""
    traces, differ = zip(*(_inside(*one) for one in ((plane, corner[1]), (plane.T, corner[0]))), strict=True)
    if min(np.abs(differ)) > _EVERY_OTHER * _more(plane):
        return 0.5
    tells = (_FREQUENCIES > _LEAST) & (np.minimum(*traces) > _DEEP_INSIDE)
    return _clearest(np.where(tells, _clear(traces), 0), _CLEAR_INSIDE * _more(plane))


def _more(plane: Plane) -> float:
    """How many times more a small picture must show: it has few lines to average, and few periods."""
    return max(1.0, _SMALL / min(plane.shape))


def _inside(plane: Plane, first: int) -> tuple[Plane, float]:
    """The trace that is left without what blocks have in common; and how far every other difference is larger."""
    sizes = _sizes(plane, 2)
    place = (np.arange(len(sizes)) - first) % 8
    inside = (place < _INSIDE).astype(np.float64)
    around = [
        ndimage.gaussian_filter1d(one, _SLOWLY_INSIDE, mode="nearest") for one in (sizes * inside, inside)
    ]
    sizes = inside * (sizes - around[0] / around[1])
    common = np.array([sizes[place == at].mean() for at in range(_INSIDE)])
    left = sizes - np.append(common, np.zeros(8 - _INSIDE))[place]
    return _trace(left), float(common @ _ALTERNATING)


def _alternating() -> NDArray[np.float64]:
    """Weights that tell values that alternate from such as change smoothly inside a block."""
    at = np.arange(_INSIDE)
    smooth = np.linalg.qr(np.vander(at.astype(np.float64), 3))[0]
    weights = (-1.0) ** at
    weights -= smooth @ (smooth.T @ weights)
    return np.asarray(weights / (weights @ weights))


def _sizes(plane: Plane, order: int) -> NDArray[np.float64]:
    """The mean log of the differences along rows, for each place in a row."""
    return np.asarray(
        np.log(np.abs(np.diff(plane, order, axis=1)) + _ROUNDING).mean(axis=0, dtype=np.float64)
    )


def _trace(sizes: NDArray[np.float64]) -> Plane:
    """The amplitude at each frequency with which these vary."""
    sizes = sizes - ndimage.gaussian_filter1d(sizes, _SLOWLY, mode="nearest")
    taper = np.hanning(len(sizes))
    amplitude = np.abs(scipy.fft.rfft(sizes * taper, _LENGTH)) * (2 / taper.sum())
    # Rows and columns were enlarged by as much only up to the rounding of their numbers.
    return np.asarray(ndimage.maximum_filter1d(amplitude, 3), np.float32)


def _clear(traces: Sequence[Plane]) -> Plane:
    """How many times the median of all frequencies the trace of columns and that of rows are, the smaller of them."""
    usual = [max(float(np.median(trace[_FREQUENCIES > _LEAST])), _TINY) for trace in traces]
    return np.asarray(np.minimum(traces[0] / usual[0], traces[1] / usual[1]))


def _clearest(clear: Plane, least: float) -> float | None:
    at = int(clear.argmax())
    return float(_FREQUENCIES[at]) if clear[at] > least else None


_FREQUENCIES = scipy.fft.rfftfreq(_LENGTH)
_ALTERNATING = _alternating()
