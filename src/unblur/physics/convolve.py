"""Convolution of images with kernels, its exact adjoint, and OpenCV's 8-bit Gaussian blur.

Blur is true convolution (the kernel is flipped). Every function keeps the shape of the image, for every size
from 1x1 up, and treats channels alike and apart. Borders: `reflect101` (d c b | a b c d), `reflect`
(b a | a b), `replicate`, `zero`, `circular`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, DTypeLike, NDArray

from unblur.errors import ImageError, KernelError, OptionError
from unblur.image import Image
from unblur.physics.blur import Kernel
from unblur.physics.kernels import SMALLEST_SIGMA, SizeRule, fixed_point, gaussian_taps
from unblur.threads import cores

Border: TypeAlias = Literal["reflect101", "reflect", "replicate", "zero", "circular"]
Method: TypeAlias = Literal["auto", "spatial", "separable", "fft"]
Floats: TypeAlias = NDArray[np.float32]

#: Lines up to this long are convolved by one matrix with the border folded in; longer ones in blocks.
_DENSE = 128
#: Pixels per block of a longer line: a small banded matrix runs at the speed of a matrix product.
_BLOCK = 48
#: Images with more pixels than this are transformed by all cores.
_LARGE = 1 << 19


def convolve(
    image: Image, kernel: Kernel, *, border: Border = "reflect101", method: Method = "auto"
) -> Image:
    """Blur `image` with `kernel`: true convolution, out(p) = sum over q of kernel(q) image(p - q).

    Shape: (H, W, C), kept. The kernel's sides are odd; it need be neither normalised nor positive. "auto"
    picks the fastest method; "separable" is only for kernels of rank one. All agree to 1e-5.
    Raises KernelError for an even side or, with "separable", a higher rank; OptionError for an unknown
    border or method.
    """
    kernel = _check_sides(kernel)
    factors = _factors(kernel) if method in ("auto", "separable") else None
    if factors is not None:
        return convolve_separable(image, *factors, border=border)
    if method == "separable":
        raise KernelError("kernel: has a rank above one; use method 'spatial' or 'fft'")
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = _padded_planes(image, (rows, rows, columns, columns), border)
    return _interleaved(_valid(padded, kernel, method))


def convolve_separable(
    image: Image, column: ArrayLike, row: ArrayLike, *, border: Border = "reflect101"
) -> Image:
    """Convolve with outer(column, row): `column` runs down, `row` runs to the right.

    Shape: (H, W, C), kept; taps one-dimensional, of odd length.
    Raises KernelError for taps of another shape, OptionError for an unknown border.
    """
    down, right = _check_taps(column), _check_taps(row)
    height, width = image.shape[:2]
    if max(height, width) <= _DENSE:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1))  # (C, H, W)
        planes = np.matmul(_dense(down, height, border), planes)
        return _interleaved(np.matmul(planes, _dense(right, width, border).T))
    rows, columns = down.size // 2, right.size // 2
    padded = _padded_planes(image, (rows, rows, columns, columns), border)
    return _interleaved(_slide_rows(_slide_columns(padded, down), right))


def adjoint(image: Image, kernel: Kernel, *, border: Border = "reflect101") -> Image:
    """The exact adjoint of `convolve` under the same border: <convolve(x), y> = <x, adjoint(y)>.

    Shape: (H, W, C), kept. It correlates with the kernel and folds back what the border had repeated.
    Raises as `convolve` does.
    """
    kernel = _check_sides(kernel)
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    if border in ("zero", "circular"):
        return convolve(image, flipped, border=border)
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    spread = convolve(pad(image, (rows, rows, columns, columns), "zero"), flipped, border="zero")
    return _fold(_fold(spread, 0, rows, border), 1, columns, border)


def gaussian_blur(
    image: Image,
    sigma: float,
    *,
    size: int | None = None,
    rule: SizeRule = "opencv-f32",
    border: Border = "reflect101",
) -> Image:
    """Blur with an isotropic Gaussian of `sigma` pixels; under 0.001 the image comes back as it is.

    Shape: (H, W, C), kept. The kernel has `size` taps, or as many as `rule` says.
    Raises KernelError for a negative sigma or an even size, OptionError for an unknown rule or border.
    """
    taps = gaussian_taps(sigma, size=size, rule=rule)
    if sigma < SMALLEST_SIGMA:
        return image
    return convolve_separable(image, taps, taps, border=border)


def gaussian_blur_u8(
    array: NDArray[np.uint8], sigma: float, *, size: int | None = None, border: Border = "reflect101"
) -> NDArray[np.uint8]:
    """OpenCV's GaussianBlur of 8-bit images: taps in 8 fractional bits, one rounding at the end.

    Shape: (H, W, C), uint8, kept. Size by the "opencv-u8" rule where not given. Float32 is exact here: every
    partial sum is a whole number below 255 * 2**16 < 2**24.
    Raises ImageError for another dtype or shape, and as `gaussian_blur` does.
    """
    if array.dtype != np.uint8 or array.ndim != 3:
        raise ImageError(f"expected a uint8 array of shape (H, W, C), got {array.dtype} {array.shape}")
    taps = fixed_point(gaussian_taps(sigma, size=size, rule="opencv-u8"))
    if sigma < SMALLEST_SIGMA:
        return array
    sums = convolve_separable(array.astype(np.float32), taps, taps, border=border)
    sums += np.float32(1 << 15)
    sums *= np.float32(1 / (1 << 16))
    return sums.astype(np.uint8)


def pad(image: Image, margin: int | tuple[int, int, int, int], border: Border) -> Image:
    """Continue an image beyond its borders.

    Shape: (H, W, C) in, (top + H + bottom, left + W + right, C) out. `margin` in pixels: one for all sides
    or (top, bottom, left, right); it may exceed the image.
    Raises OptionError for a negative margin or an unknown border.
    """
    top, bottom, left, right = (margin,) * 4 if isinstance(margin, int) else margin
    if min(top, bottom, left, right) < 0:
        raise OptionError(f"margin: expected 0 or more pixels, got {margin}")
    height, width, channels = image.shape
    padded = np.empty((top + height + bottom, left + width + right, channels), np.float32)
    _fill(padded.transpose(2, 0, 1), image.transpose(2, 0, 1), (top, bottom, left, right), border)
    return padded


def otf(kernel: Kernel, shape: tuple[int, int], dtype: DTypeLike = np.float32) -> NDArray[np.complexfloating]:
    """Transfer function of a kernel: its real FFT on a grid of `shape` with its centre at index 0.

    Shape: (H, W // 2 + 1) for `shape` (H, W); complex of the precision of `dtype`. A kernel that is larger
    than the grid wraps around, as circular convolution asks.
    Raises KernelError for an even side.
    """
    kernel = _check_sides(kernel)
    grid = np.zeros(shape, dtype)
    rows = (np.arange(kernel.shape[0]) - kernel.shape[0] // 2) % shape[0]
    columns = (np.arange(kernel.shape[1]) - kernel.shape[1] // 2) % shape[1]
    if kernel.shape[0] <= shape[0] and kernel.shape[1] <= shape[1]:
        grid[np.ix_(rows, columns)] = kernel
    else:
        np.add.at(grid, np.ix_(rows, columns), kernel)
    transfer: NDArray[np.complexfloating] = scipy.fft.rfft2(grid, workers=_workers(grid.size))
    return transfer


def check_border(name: str) -> Border:
    """Return `name` if it is a border. Raises OptionError otherwise."""
    for border in get_args(Border):
        if name == border:
            return cast(Border, border)
    raise OptionError(f"unknown border {name!r}; one of {', '.join(get_args(Border))}")


def border_index(length: int, before: int, after: int, border: Border) -> NDArray[np.intp]:
    """Which pixel of a line each pixel of the padded line repeats, and -1 where it is zero.

    Shape: (before + length + after,).
    Raises OptionError for an unknown border.
    """
    index = np.arange(-before, length + after)
    if border == "reflect101":
        period = max(2 * length - 2, 1)
        index %= period
        return np.minimum(index, period - index) if length > 1 else index
    if border == "reflect":
        index %= 2 * length
        return np.minimum(index, 2 * length - 1 - index)
    if border == "replicate":
        return np.clip(index, 0, length - 1)
    if border == "zero":
        return np.where((index >= 0) & (index < length), index, -1)
    if border == "circular":
        return index % length
    raise OptionError(f"unknown border {border!r}; one of {', '.join(get_args(Border))}")


def _check_sides(kernel: NDArray[np.floating]) -> Kernel:
    if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise KernelError(f"kernel: expected two odd sides, got shape {kernel.shape}")
    return kernel.astype(np.float32, copy=False)


def _check_taps(taps: ArrayLike) -> Floats:
    taps = np.asarray(taps, np.float32)
    if taps.ndim != 1 or taps.size % 2 == 0:
        raise KernelError(f"taps: expected an odd number in one dimension, got shape {taps.shape}")
    return taps


def _factors(kernel: Kernel) -> tuple[Floats, Floats] | None:
    """(column, row) with kernel = outer(column, row) to float32 rounding, or None for a higher rank."""
    i, j = np.unravel_index(np.argmax(np.abs(kernel)), kernel.shape)
    peak = kernel[i, j]
    if peak == 0:
        return kernel[:, 0], kernel[0]
    column, row = kernel[:, j], kernel[i] / peak
    error = np.abs(kernel - np.outer(column, row)).sum()
    return (column, row) if error <= 1e-6 * np.abs(kernel).sum() else None


def _dense(taps: Floats, length: int, border: Border) -> Floats:
    """The matrix that convolves a line of `length` pixels, border included. Shape: (length, length)."""
    cells = _dense_cells(taps.size, length, border)
    weights = np.broadcast_to(taps[::-1], (length, taps.size)).ravel()
    matrix = np.bincount(cells, weights, length * (length + 1)).reshape(length, length + 1)
    return matrix[:, :length].astype(np.float32)


@lru_cache(maxsize=64)
def _dense_cells(size: int, length: int, border: Border) -> NDArray[np.intp]:
    """Where in a (length, length + 1) matrix each tap of each pixel is added; the last column is beyond zero."""
    radius = size // 2
    source = border_index(length, radius, radius, border)
    source[source < 0] = length
    line = np.arange(length)[:, None]
    return (source[line + np.arange(size)] + line * (length + 1)).ravel()


def _toeplitz(taps: Floats, count: int) -> Floats:
    """The banded matrix that convolves count + k - 1 pixels into `count`. Shape: (count, count + k - 1)."""
    band = np.zeros((count, count + taps.size), np.float32)
    band[:, : taps.size] = taps[::-1]
    return band.ravel()[: count * (count + taps.size - 1)].reshape(count, -1)


def _slide_columns(planes: Floats, taps: Floats) -> Floats:
    """Valid convolution down the columns. Shape: (C, H + k - 1, W) in, (C, H, W) out."""
    height = planes.shape[1] - taps.size + 1
    band = _toeplitz(taps, min(_BLOCK, height))
    out = np.empty((planes.shape[0], height, planes.shape[2]), np.float32)
    for start in range(0, height, _BLOCK):
        n = min(_BLOCK, height - start)
        block = planes[:, start : start + n + taps.size - 1]
        np.matmul(band[:n, : n + taps.size - 1], block, out=out[:, start : start + n])
    return out


def _slide_rows(planes: Floats, taps: Floats) -> Floats:
    """Valid convolution along the rows. Shape: (C, H, W + k - 1) in, (C, H, W) out."""
    width = planes.shape[2] - taps.size + 1
    band = np.ascontiguousarray(_toeplitz(taps, min(_BLOCK, width)).T)
    out = np.empty((*planes.shape[:2], width), np.float32)
    for start in range(0, width, _BLOCK):
        n = min(_BLOCK, width - start)
        block = planes[:, :, start : start + n + taps.size - 1]
        np.matmul(block, band[: n + taps.size - 1, :n], out=out[:, :, start : start + n])
    return out


def _valid(padded: Floats, kernel: Kernel, method: Method) -> Floats:
    """Valid convolution of planes. Shape: (C, H + k - 1, W + l - 1) in, (C, H, W) out."""
    if method == "auto":
        method = "spatial" if kernel.shape[0] <= 5 else "fft"
    if method == "spatial":
        return _valid_spatial(padded, kernel)
    if method == "fft":
        return _valid_fft(padded, kernel)
    raise OptionError(f"unknown method {method!r}; one of auto, spatial, separable, fft")


def _valid_spatial(padded: Floats, kernel: Kernel) -> Floats:
    height = padded.shape[1] - kernel.shape[0] + 1
    out: Floats | None = None
    for shift, row in enumerate(kernel[::-1]):
        term = _slide_rows(padded[:, shift : shift + height], row)
        out = term if out is None else np.add(out, term, out=out)
    assert out is not None
    return out


def _valid_fft(padded: Floats, kernel: Kernel) -> Floats:
    """By real FFTs on a grid that is large enough for the wrap-around to fall outside the valid part."""
    channels, high, wide = padded.shape
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    grid = (scipy.fft.next_fast_len(high, real=True), scipy.fft.next_fast_len(wide, real=True))
    transfer = otf(kernel, grid)
    workers = _workers(grid[0] * grid[1])
    out = np.empty((channels, high - 2 * rows, wide - 2 * columns), np.float32)
    for plane, target in zip(padded, out, strict=True):  # one at a time: memory
        spectrum = scipy.fft.rfft2(plane, s=grid, workers=workers)
        spectrum *= transfer
        blurred = scipy.fft.irfft2(spectrum, s=grid, workers=workers, overwrite_x=True)
        target[:] = blurred[rows : high - rows, columns : wide - columns]
    return out


def _workers(pixels: int) -> int:
    return cores() if pixels > _LARGE else 1


def _padded_planes(image: Image, margins: tuple[int, int, int, int], border: Border) -> Floats:
    """The image as planes, continued beyond its borders. Shape: (C, top + H + bottom, left + W + right)."""
    top, bottom, left, right = margins
    height, width, channels = image.shape
    padded = np.empty((channels, top + height + bottom, left + width + right), np.float32)
    _fill(padded, image.transpose(2, 0, 1), margins, border)
    return padded


def _fill(padded: Floats, planes: Floats, margins: tuple[int, int, int, int], border: Border) -> None:
    """Write `planes` (C, H, W) and what lies beyond its borders into `padded`."""
    top, bottom, left, right = margins
    height, width = planes.shape[1:]
    rows = border_index(height, top, bottom, border)
    columns = border_index(width, left, right, border)
    body = padded[:, top : top + height]
    body[:, :, left : left + width] = planes
    for outside in (slice(0, left), slice(left + width, None)):
        body[:, :, outside] = 0 if border == "zero" else planes[:, :, columns[outside]]
    for outside in (slice(0, top), slice(top + height, None)):
        padded[:, outside] = 0 if border == "zero" else padded[:, top + rows[outside]]


def _fold(spread: Image, axis: int, margin: int, border: Border) -> Image:
    """Adjoint of padding one axis by `margin`: what was repeated is added to where it came from."""
    if margin == 0:
        return spread
    lines = np.moveaxis(spread, axis, 0)
    length = lines.shape[0] - 2 * margin
    index = border_index(length, margin, margin, border)
    folded = lines[margin : margin + length].copy()
    for outside in (*range(margin), *range(margin + length, lines.shape[0])):
        folded[index[outside]] += lines[outside]
    return np.moveaxis(folded, 0, axis)


def _interleaved(planes: Floats) -> Image:
    """Planes as an image. Shape: (C, H, W) in, (H, W, C) out."""
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
