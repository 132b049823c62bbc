"""Structural similarity in every flavour that papers on deblurring print, and its multi-scale form.

All flavours are one formula (Wang et al., Image Quality Assessment: From Error Visibility to Structural
Similarity, 2004, eq. 13) under different windows, borders and channels:

==============  ====================================================================================
tf              11x11 Gaussian, sigma 1.5, valid windows, per channel: tf.image.ssim, BasicSR, MMagic
skimage         7x7 mean, sample covariance, valid windows, per channel: scikit-image's defaults
matlab3d        11x11x11 Gaussian through the channels too, edges replicated: MATLAB's ssim of an
                RGB array, NAFNet's ssim3d
luma            tf on the Y of MATLAB's rgb2ycbcr, 16..235 of 255 and unrounded: BasicSR's test_y_channel
zeropad         tf's window over pictures padded with zeros: pytorch-ssim
downsampled     tf after shrinking the shorter side to about 256 pixels: Wang's ssim.m
==============  ====================================================================================

The same pair can differ by 0.1 between two of them, so a number without its flavour means nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, reduce
from itertools import product
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unblur.errors import ImageError, OptionError
from unblur.metrics.psnr import check_data_range, check_pair
from unblur.threads import cores

Array: TypeAlias = NDArray[Any]
Flavour: TypeAlias = Callable[[Array, Array, float], float]

K1, K2 = 0.01, 0.03

GAUSSIAN = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
GAUSSIAN /= GAUSSIAN.sum()
UNIFORM = np.full(7, 1 / 7)

#: MATLAB's rgb2ycbcr, Y row, for [0, 255].
STUDIO_LUMA = np.array([65.481, 128.553, 24.966]) / 255
STUDIO_BLACK = 16 / 255

MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: The coarsest scale must still hold one window.
MS_LEAST_SIDE = 11 * 2 ** (len(MS_WEIGHTS) - 1)

#: Rows and columns of the map that are computed at a time. Three channels of four moments then stay in a
#: megabyte of cache, and each product stays below the size at which OpenBLAS starts threads of its own, which
#: would stall each other whenever the machine is busy.
TILE_ROWS, TILE_COLUMNS, STRIP = 24, 256, 32
#: More threads than this wait for the interpreter instead of computing.
THREADS = min(4, cores())


def ssim(a: Array, b: Array, *, data_range: float, flavour: str = "tf") -> float:
    """Mean structural similarity of two pictures, at most 1, and exactly 1 for equal ones.

    Shape: (H, W) or (H, W, C), equal. `data_range`: white minus black, 1 for an image, 255 for uint8.
    `flavour`: a key of `FLAVOURS`.
    Raises ImageError for other shapes, OptionError for an unknown flavour, a range that is not positive, or a
    picture smaller than the window.
    """
    check_data_range(data_range)
    return find_flavour(flavour)(*_check_pictures(a, b), data_range)


def ms_ssim(a: Array, b: Array, *, data_range: float) -> float:
    """Multi-scale structural similarity over five scales, in [0, 1], the mean over channels.

    Shape: (H, W) or (H, W, C), equal, H and W at least 176. `data_range`: as for `ssim`.
    Each scale halves the last by 2x2 averages; negative terms count as 0, as in tf.image.ssim_multiscale.
    Raises ImageError for other shapes, OptionError for a smaller picture or a range that is not positive.
    Source: Wang, Simoncelli and Bovik, Multi-scale structural similarity, 2003, eq. 7.
    """
    check_data_range(data_range)
    a, b = _check_pictures(a, b)
    _check_side(a, MS_LEAST_SIDE, "MS-SSIM")
    result = np.ones(a.shape[2])
    for scale, weight in enumerate(MS_WEIGHTS):
        if scale:
            a, b = _shrink(a, 2), _shrink(b, 2)
        whole, contrast = _channel_means(a, b, GAUSSIAN, data_range)
        last = scale == len(MS_WEIGHTS) - 1
        result *= np.maximum(whole if last else contrast, 0) ** weight
    return float(result.mean())


def find_flavour(name: str) -> Flavour:
    """Return the function of a flavour of SSIM; raises OptionError for an unknown name."""
    if name not in FLAVOURS:
        raise OptionError(f"unknown SSIM flavour {name!r}; one of {', '.join(FLAVOURS)}")
    return FLAVOURS[name]


def _tf(a: Array, b: Array, data_range: float) -> float:
    _check_side(a, len(GAUSSIAN), "SSIM")
    return float(_channel_means(a, b, GAUSSIAN, data_range)[0].mean())


def _skimage(a: Array, b: Array, data_range: float) -> float:
    _check_side(a, len(UNIFORM), "SSIM")
    samples = len(UNIFORM) ** 2
    return float(_channel_means(a, b, UNIFORM, data_range, covariance=samples / (samples - 1))[0].mean())


def _matlab3d(a: Array, b: Array, data_range: float) -> float:
    channels = a.shape[2]
    radius = len(GAUSSIAN) // 2
    # A Gaussian along the channels with the outer ones replicated is a C x C matrix.
    across = np.zeros((channels, channels))
    for channel, (offset, weight) in product(range(channels), enumerate(GAUSSIAN, -radius)):
        across[channel, min(max(channel + offset, 0), channels - 1)] += weight
    a, b = (np.pad(x, ((radius, radius), (radius, radius), (0, 0)), mode="edge") for x in (a, b))
    return float(_channel_means(a, b, GAUSSIAN, data_range, across=across)[0].mean())


def _luma(a: Array, b: Array, data_range: float) -> float:
    if a.shape[2] not in (1, 3):
        raise ImageError(f"luma needs 1 or 3 channels, got shape {a.shape}")
    if a.shape[2] == 3:
        black = STUDIO_BLACK * data_range
        a, b = (np.einsum("hwc,c->hw", x, STUDIO_LUMA)[:, :, None] + black for x in (a, b))
    return _tf(a, b, data_range)


def _zeropad(a: Array, b: Array, data_range: float) -> float:
    radius = len(GAUSSIAN) // 2
    a, b = (np.pad(x, ((radius, radius), (radius, radius), (0, 0))) for x in (a, b))
    return _tf(a, b, data_range)


def _downsampled(a: Array, b: Array, data_range: float) -> float:
    factor = max(1, math.floor(min(a.shape[:2]) / 256 + 0.5))
    return _tf(_shrink(a, factor), _shrink(b, factor), data_range)


FLAVOURS: Mapping[str, Flavour] = MappingProxyType(
    {
        "tf": _tf,
        "skimage": _skimage,
        "matlab3d": _matlab3d,
        "luma": _luma,
        "zeropad": _zeropad,
        "downsampled": _downsampled,
    }
)
"""Name of a flavour to its function of two (H, W, C) arrays and their data range."""


def _channel_means(
    a: Array,
    b: Array,
    window: NDArray[np.float64],
    data_range: float,
    *,
    covariance: float = 1.0,
    across: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean SSIM and mean contrast-structure term of each channel over the valid windows.

    Shape: (H, W, C) in, two times (C,) out. `window` is separable; `covariance` scales the (co)variances;
    `across` (C, C) mixes the windowed moments of the channels.
    """
    rows, columns = (side - len(window) + 1 for side in a.shape[:2])
    planes = a.transpose(2, 0, 1), b.transpose(2, 0, 1)
    # Scaling the variances is dividing their constant.
    constants = 2 * (K1 * data_range) ** 2, 2 * (K2 * data_range) ** 2 / covariance

    def tile(corner: tuple[int, int]) -> NDArray[np.float64]:
        y, x = corner
        height, width = min(TILE_ROWS, rows - y), min(TILE_COLUMNS, columns - x)
        cut = np.s_[:, y : y + height + len(window) - 1, x : x + width + len(window) - 1]
        return _tile_sums(planes[0][cut], planes[1][cut], window, constants, across)

    corners = list(product(range(0, rows, TILE_ROWS), range(0, columns, TILE_COLUMNS)))
    if len(corners) == 1:
        sums = tile(corners[0])
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            sums = np.sum(list(pool.map(tile, corners)), axis=0)
    luminance, contrast, both = sums / (rows * columns)
    return 1 - 2 * luminance - 2 * contrast + 4 * both, 1 - 2 * contrast


def _tile_sums(
    a: Array,
    b: Array,
    window: NDArray[np.float64],
    constants: tuple[float, float],
    across: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Sums over a tile of what its two terms lack to 1, halved, and of their product: (C, h, w) to (3, C).

    With s = a + b and d = a - b the terms of SSIM are 1 - 2 E[d]^2 / (E[s]^2 + E[d]^2 + 2 C1) for luminance and
    1 - 2 var d / (var s + var d + 2 C2) for contrast and structure: four windowed moments instead of five, and
    rounding cannot move the score of equal pictures off 1.
    """
    channels, height, width = a.shape
    moments = np.empty((4, channels, height, width))
    moments[2], moments[3] = a, b
    np.add(moments[2], moments[3], out=moments[0])
    np.subtract(moments[2], moments[3], out=moments[1])
    np.square(moments[:2], out=moments[2:])
    moments = _windowed(moments, window)
    if across is not None:
        moments = np.einsum("ij,mjhw->mihw", across, moments)
    squares, variances = moments[:2], moments[2:]
    np.square(squares, out=squares)
    variances -= squares
    for (of_sum, of_difference), constant in zip((squares, variances), constants, strict=True):
        of_sum += of_difference
        of_sum += constant
        of_difference /= of_sum
    luminance, contrast = squares[1], variances[1]
    return np.array([term.sum(axis=(1, 2)) for term in (luminance, contrast, luminance * contrast)])


def _windowed(moments: NDArray[np.float64], window: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted means of the last two axes under the window, valid positions only.

    Each pass is a product with a banded matrix: the zeros that it multiplies cost less than any loop over the
    window saves.
    """
    height, width = (side - len(window) + 1 for side in moments.shape[-2:])
    across_rows = np.matmul(_band(window.tobytes(), height), moments)
    result = np.empty((*moments.shape[:2], height, width))
    for x in range(0, width, STRIP):
        strip = min(STRIP, width - x)
        np.matmul(
            across_rows[..., x : x + strip + len(window) - 1],
            _band(window.tobytes(), strip).T,
            out=result[..., x : x + strip],
        )
    return result


@lru_cache(maxsize=256)
def _band(window: bytes, size: int) -> NDArray[np.float64]:
    """The (size, size + taps - 1) matrix whose rows are the shifted window."""
    weights = np.frombuffer(window)
    matrix = np.zeros((size, size + len(weights) - 1))
    for row in range(size):
        matrix[row, row : row + len(weights)] = weights
    return matrix


def _shrink(picture: Array, factor: int) -> NDArray[np.float64]:
    """Means over factor x factor blocks, edges mirrored; (H, W, C) to (ceil(H / factor), ceil(W / factor), C).

    A block sits around its first pixel as in MATLAB's imfilter: an even one reaches further right and down.
    """
    pad = ((factor - 1) // 2, factor // 2)
    height, width = (-(-side // factor) * factor for side in picture.shape[:2])
    padded = np.pad(picture.astype(np.float64), (pad, pad, (0, 0)), mode="symmetric")[:height, :width]
    rows = reduce(np.add, [padded[start::factor] for start in range(factor)])
    blocks: NDArray[np.float64] = reduce(np.add, [rows[:, start::factor] for start in range(factor)])
    return blocks / factor**2


def _check_pictures(a: Array, b: Array) -> tuple[Array, Array]:
    a, b = check_pair(a, b)
    if a.ndim not in (2, 3):
        raise ImageError(f"SSIM needs pictures of shape (H, W) or (H, W, C), got {a.shape}")
    return (a[:, :, None], b[:, :, None]) if a.ndim == 2 else (a, b)


def _check_side(picture: Array, least: int, what: str) -> None:
    height, width = picture.shape[:2]
    if min(height, width) < least:
        raise OptionError(f"{what} is undefined below {least} pixels a side, got {width}x{height}")
