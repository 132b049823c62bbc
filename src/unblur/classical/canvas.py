"""The periodic canvas that every solver works on: what lies beyond an image's border, and fast transforms.

An inverse filter reaches far beyond the kernel, so a wrong guess of what lies outside rings deep into the
image. Two treatments avoid it. A scene that was mirrored before a symmetric kernel blurred it is mirrored still:
the image is continued so, and the two ends are cross-faded where the canvas wraps around. In any other case, and
so in every photograph, the pixels outside are unknowns of which the observation says nothing (Reeves, "Fast image
restoration without boundary artifacts", 2005).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import DTypeLike, NDArray

from unblur.errors import OptionError
from unblur.image import Image, check_image, luma, rounding_noise
from unblur.physics.blur import Kernel
from unblur.physics.convolve import Border, border_index, check_border, otf
from unblur.physics.kernels import check_kernel
from unblur.threads import cores, spread

Continuation: TypeAlias = Border | Literal["unknown", "auto"]
"""How the scene went on beyond the border when it was blurred: a rule, "unknown", or "auto" to tell from the image.

"replicate" and "zero", and a mirror beside a kernel that is not symmetric, leave the blurred image beyond the border
undetermined, and count as unknown.
"""

Planes: TypeAlias = NDArray[np.floating[Any]]
Spectrum: TypeAlias = NDArray[np.complexfloating[Any, Any]]

#: Standard deviation of rounding to 8 bits, in [0, 1] units: the noise where none is given.
ROUNDING_NOISE = rounding_noise(np.uint8)

#: Below this standard deviation float32 arithmetic is itself the larger noise.
SMALLEST_NOISE = 1e-7

#: With less noise than this, the rounding of float32 transforms would show in what an inverse filter amplifies.
FLOAT32_NOISE = 1e-4

#: How many pixels an image is continued by, in addition to what the kernel takes. With less, opposite sides of the
#: image see each other around the canvas, and a tile comes out otherwise than the whole.
REACH = 16

#: Elements of all arrays of a strip together, which should stay in the caches. With a quarter of that, threads spend a
#: fifth of their time on handing each other the interpreter.
_CACHED = 1 << 21

#: Pixels of a canvas that is not worth dividing.
_SMALL = 1 << 15

#: Share of a kernel's weight that may lie elsewhere in its mirror image.
_LOPSIDED = 0.05


@dataclass(frozen=True)
class Canvas:
    """An image on a periodic grid, with the kernel's transfer function on that grid.

    planes: (C, H', W'), the image at the top left and its continuation beyond. size: (H, W) of the image. kernel:
    (k, k). transfer: (H', W' // 2 + 1). unseen: where the continuation is not what blurring would have given, but
    merely smooth, in rows and columns.
    """

    planes: Planes
    size: tuple[int, int]
    kernel: Kernel
    transfer: Spectrum
    unseen: tuple[tuple[slice, slice], ...] = ()

    @property
    def known(self) -> bool:
        """Whether the continuation is what blurring would have given."""
        return not self.unseen

    def hide(self, planes: Planes) -> None:
        """Set planes to 0 where the continuation is not what blurring would have given. Shape: (C, H', W')."""
        for rows, columns in self.unseen:
            planes[:, rows, columns] = 0

    @property
    def grid(self) -> tuple[int, int]:
        """(H', W')."""
        return self.planes.shape[1], self.planes.shape[2]

    def image(self, planes: Planes) -> Image:
        """The image's part of planes on this canvas, within [0, 1]. Shape: (C, H', W') in, (H, W, C) out."""
        clipped = np.empty((*self.size, len(planes)), np.float32)
        # Channel by channel it is twice as fast.
        for channel, plane in enumerate(planes):
            np.clip(self.window(plane), 0, 1, out=clipped[:, :, channel])
        return clipped

    def window(self, planes: Planes) -> Planes:
        """A view of the image's part of planes on this canvas. Shape: (..., H', W') in, (..., H, W) out."""
        return planes[..., : self.size[0], : self.size[1]]


def make_canvas(
    image: Image,
    kernel: Kernel,
    border: Continuation,
    noise: float,
    dtype: DTypeLike = np.float32,
    *,
    inverse: bool = True,
) -> Canvas:
    """Continue an image beyond its borders to a periodic grid of a size that transforms fast.

    inverse: whether what works on it inverts the blur outright, and so looks further than the kernel does.
    Raises ImageError, KernelError or OptionError for what is not an image, a kernel or a border.
    """
    image, kernel = check_image(image), check_kernel(kernel)
    if border == "auto":
        border = find_border(image, kernel, noise)
    if border != "unknown":
        check_border(border)
    mirrored = border in ("reflect101", "reflect") and _is_symmetric(kernel)
    known = mirrored or border == "circular"
    rule = check_border(border) if known else "reflect101"
    radius = kernel.shape[0] // 2
    margin = radius + REACH
    if inverse:
        margin += radius if known else REACH
    height, width, channels = image.shape
    grid = tuple(length + _extra(length, margin, rule, exact=known) for length in (height, width))
    planes = np.empty((channels, *grid), dtype)
    planes[:, :height, :width] = image.transpose(2, 0, 1)
    _continue(planes[:, :, :width], 1, height, rule)
    _continue(planes, 2, width, rule)
    transfer = otf(kernel, grid, planes.dtype)
    unseen = () if known else ((slice(height, None), slice(None)), (slice(height), slice(width, None)))
    return Canvas(planes, (height, width), kernel, transfer, unseen)


def find_border(image: Image, kernel: Kernel, noise: float) -> Literal["reflect101", "unknown"]:
    """Tell from a blurred image whether the scene was mirrored at its border before it was blurred.

    A mirrored scene blurs to one that is flat across the mirror, so that the first two pixels differ by much
    less than the next two; a photograph shows no such thing. The other rules leave less of a trace, and
    taking a photograph for mirrored costs far more than the reverse, so only "reflect101" is ever believed,
    and only of kernels that are symmetric themselves.
    """
    if not _is_symmetric(kernel):
        return "unknown"
    if min(image.shape[:2]) < 4:
        return "reflect101"
    plane = luma(image).astype(np.float64)
    sides = (plane, plane[::-1], plane.T, plane.T[::-1])
    steps = np.array([np.square(np.diff(side[:3], axis=0)).mean(axis=1) for side in sides]) - 2 * noise**2
    steps = np.maximum(steps[steps[:, 1] > 8 * noise**2], 0)
    if steps.size == 0:
        return "unknown"
    mirrored, mirrored_too = _flatness(kernel, "reflect101"), _flatness(kernel, "reflect")
    flatness = steps.sum(axis=0)[0] / steps.sum(axis=0)[1]
    return "reflect101" if flatness < (mirrored * mirrored_too) ** 0.5 else "unknown"


def noise_level(noise: float | None) -> float:
    """The standard deviation to reckon with: that of rounding to 8 bits where None. Raises OptionError below 0."""
    if noise is None:
        return ROUNDING_NOISE
    if not 0 <= noise < 1:
        raise OptionError(f"noise: expected a standard deviation in [0, 1) units, got {noise}")
    return max(float(noise), SMALLEST_NOISE)


def count(iterations: int | None, default: int) -> int:
    """The number of iterations: the default where None. Raises OptionError below 1."""
    if iterations is None:
        return default
    if iterations < 1:
        raise OptionError(f"iterations: expected 1 or more, got {iterations}")
    return int(iterations)


def rfft(planes: Planes) -> Spectrum:
    """Real FFT of the last two axes on all cores."""
    spectrum: Spectrum = scipy.fft.rfft2(planes, workers=cores())
    return spectrum


def irfft(spectrum: Spectrum, grid: tuple[int, int]) -> Planes:
    """Inverse of `rfft`; it uses up `spectrum`, which is a quarter faster than sparing it."""
    columns = scipy.fft.ifft(spectrum, axis=1, workers=cores(), overwrite_x=True)
    planes: Planes = scipy.fft.irfft(columns, grid[1], axis=2, workers=cores())
    return planes


def power(transfer: Spectrum) -> Planes:
    """Squared magnitude; numpy's own magnitude guards against overflow, and takes five times as long."""
    total = np.square(transfer.real)
    total += np.square(transfer.imag)
    return total


def in_strips(step: Callable[[slice], None], planes: Planes | Spectrum, arrays: int) -> None:
    """Call `step` with slices of rows that cover `planes` (C, H, W), on all cores.

    The strips are small enough for the caches to hold as many `arrays` of the planes' width as a step works on.
    """
    parts, rows = shares(planes, arrays)

    def work(part: slice) -> None:
        for top in range(part.start, part.stop, rows):
            step(slice(top, min(top + rows, part.stop)))

    spread(work, parts)


def shares(planes: Planes | Spectrum, arrays: int) -> tuple[list[slice], int]:
    """Rows of `planes` (C, H, W) for the cores to share, and how many of them are a strip as in `in_strips`."""
    channels, height, width = planes.shape
    rows = min(max(1, _CACHED // (arrays * channels * width)), -(-height // cores()))
    share = -(-height // (2 * cores()) // rows) * rows
    if share >= height or height * width < _SMALL:
        return [slice(0, height)], height
    return [slice(top, min(top + share, height)) for top in range(0, height, share)], rows


def extended(planes: Planes, axis: int, margin: int, rule: Border) -> Planes:
    """Planes with what lies after the end and, as the canvas wraps around, before the start of an axis."""
    length = planes.shape[axis]
    shape = list(planes.shape)
    shape[axis] += _extra(length, margin, rule)
    longer = np.empty(shape, planes.dtype)
    np.moveaxis(longer, axis, 0)[:length] = np.moveaxis(planes, axis, 0)
    _continue(longer, axis, length, rule)
    return longer


def _extra(length: int, margin: int, rule: Border, *, exact: bool = False) -> int:
    """By how many pixels an axis is continued."""
    if rule == "circular" or margin == 0:
        return 0
    if exact and (period := _period(length, rule)) <= length + 2 * margin:
        return int(period) - length
    return int(scipy.fft.next_fast_len(length + 2 * margin, real=True)) - length


def _continue(planes: Planes, axis: int, length: int, rule: Border) -> None:
    """Fill planes from `length` on: what lies after the end and, as the canvas wraps around, before the start.

    Where the planes are as long as the rule's period the two are the same.
    """
    extra = planes.shape[axis] - length
    if not extra:
        return
    along = np.moveaxis(planes, axis, 0)
    after = along[border_index(length, 0, extra, rule)[length:]]
    before = along[border_index(length, extra, 0, rule)[:extra]]
    # Flat for a quarter at each end, so that the rule holds exactly near the image.
    ramp = np.clip(2 * (np.arange(extra) + 0.5) / extra - 0.5, 0, 1)
    fade = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(planes.dtype)
    along[length:] = after + fade[:, None, None] * (before - after)


def _period(length: int, rule: Border) -> float:
    """After how many pixels a continued axis repeats itself."""
    return {"reflect101": max(2 * length - 2, 1), "reflect": 2 * length}.get(rule, math.inf)


def _is_symmetric(kernel: Kernel) -> bool:
    """Whether a scene that is mirrored stays so when it is blurred."""
    return max(np.abs(kernel - kernel[::-1]).sum(), np.abs(kernel - kernel[:, ::-1]).sum()) < _LOPSIDED


def _flatness(kernel: Kernel, rule: Border) -> float:
    """Expected squared difference of the first two pixels over that of the next two, for a mirrored scene.

    The scene is a random walk: its differences are independent.
    """
    radius = kernel.shape[0] // 2
    length = radius + 4
    source = border_index(length, radius, radius, rule)[: length + radius]
    walk = np.tril(np.ones((length, length)))[source]  # pixels by the steps that lead to them
    taps = kernel.sum(axis=0, dtype=np.float64)
    first, second = (
        np.square(taps @ (walk[at : at + taps.size] - walk[at + 1 : at + 1 + taps.size])).sum()
        for at in (0, 1)
    )
    return float(first / second)
