"""Camera shake: the kernel of a hand-held exposure, from one picture.

Kernel and sharp picture are found in turns, from coarse to fine. The sharp picture is the one with the fewest
non-zero gradients (Xu, Zheng and Jia, "Unnatural L0 sparse representation for natural image deblurring", 2013), its
prior weaker from turn to turn; the kernel is the least-squares one between its gradients and those of the blurred
picture (Cho and Lee, "Fast motion deblurring", 2009), cut to where it is positive and significant. What the picture
does not show, beyond its border and where it is saturated, is filled in by blurring the sharp picture of the moment.

How far a kernel is believed is a second opinion's matter: that of another window of the picture, where there is room
for one, since what moves by itself, or turns with the camera, is blurred otherwise there; else that of another weight.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from unblur.errors import OptionError
from unblur.estimate.fit import explain, periodogram
from unblur.estimate.noise import noise_level
from unblur.image import Image, check_image, luma
from unblur.physics.blur import Blur, Kernel
from unblur.physics.convolve import otf
from unblur.physics.kernels import check_kernel, delta
from unblur.threads import spread

Plane: TypeAlias = NDArray[np.float32]
Field: TypeAlias = NDArray[np.float64]
Known: TypeAlias = NDArray[np.bool_]
Spectrum: TypeAlias = NDArray[np.complexfloating[Any, Any]]

#: The widest kernel that is looked for unless told otherwise, and the narrowest of the coarsest scale, pixels.
LARGEST, _SMALLEST = 35, 5

#: Pixels of the crop that is looked at, and on a side of the least picture that tells anything.
CROP, _LEAST = 392**2, 32

#: A pixel from here on is saturated: what would have been there is not known. On a coarser scale a pixel is known that
#: is made of known ones by at least this share.
_SATURATED, _KNOWN = 254 / 255, 0.99

#: A picture whose grey levels span less than this is flat.
_CONTRAST = 4 / 255

_SHRINK = 0.5**0.5

#: Weight of the gradients: the factor after each turn, and at least.
_DECAY, _LEAST_GRADIENTS = 1 / 1.06, 1e-4

#: Turns at each scale, and at the finest one.
_TURNS, _LAST_TURNS = 8, 12

#: Penalty of the splitting of the gradients: up to this, doubling; the unknown is filled in at these steps.
_PENALTY, _FILLED = 1e5, (5, 11, 17)

#: A second window has at least this share of the edges of the first.
_EDGES = 1 / 3

#: Weights of the gradients at first, and of the kernel's squared norm: those of the answer, and those of the second
#: opinion of a picture of one window, which is the answer where it explains the spectrum better.
_WEIGHTS = (6e-3, 5.0), (1e-2, 2.0)

#: Weights of a kernel below this share of its largest are none, and pieces of it below this share of the whole. What
#: moving it by a fraction of a pixel rings with is below the third share.
_FAINT, _SPECK, _RINGING = 0.05, 0.05, 0.01

#: Conjugate gradients stop after so many steps, or when the squared residual has fallen to this share.
_CG_STEPS, _CG_SMALL = 20, 1e-10

_TINY = 1e-12

#: The confidence is nothing at the first agreement of the opinions of one window, whole at the second ...
_AGREEMENT = (0.35, 0.85)
#: ... or so of two windows, whose kernels agree to 0.97 and more under an even shake where both have edges enough, and
#: to 0.94 and less where the motion is uneven. A window that disagrees for want of edges is still explained better by
#: the kernel of the other than by its own, in the logarithm of the deviance by 0.09 and more; others are not.
_TOGETHER, _BETTER = (0.9, 1.0), (0.0, -0.1)
#: ... and nothing at the first excess of gradients, whole at the second: right kernels have -0.8 to 0 on shaken
#: photographs, wrong ones 0.4; and more by the third number for each unit of noise ...
_EXCESS, _EXCESS_OF_NOISE = (0.4, 0.0), 40.0
#: ... and nothing for a kernel of no more pixels than this that explains the spectrum better than none does by no more
#: than the second number, in the logarithm of the deviance; whole at the third. Shaken photographs have 0.07 and more,
#: sharp ones, in which kernels of up to nine pixels are found, 0.03 and less, and such as moved in many ways 0.06.
_NARROW, _NEEDED = 11, (0.02, 0.1)

#: The inverse filter that shows this: its weight of the gradients.
_INVERSE = 1e-3

#: The inverse filter, and the power of the gradients, that tell a kernel from itself turned by half a turn; and how
#: much such two must differ for that to matter.
_INVERSE_OF_TURNED, _POWER, _LOPSIDED = 1e-2, 0.6, 0.05

#: What the errors of a kernel that was found leave is to be taken for noise of this standard deviation.
_KERNEL_NOISE = 0.007


class Shake(NamedTuple):
    """A kernel with its centroid at the centre, and how far to believe it, 0..1."""

    kernel: Kernel
    confidence: float


def shake_kernel(image: Image, *, size: int | None = None) -> Shake:
    """The kernel of camera shake behind a blurred image.

    Shape: (H, W, C) in; (k, k) out, k odd and as small as holds it. `size`: the widest kernel that is looked for,
    pixels, odd and at least 5; 35 where not given. An image under 32 pixels on a side or without contrast gives
    `delta` with confidence 0.
    Raises ImageError for what is no image, OptionError for a size.
    """
    check_image(image)
    size = LARGEST if size is None else size
    if size < _SMALLEST or size % 2 == 0:
        raise OptionError(f"size: expected an odd number of pixels from {_SMALLEST} on, got {size}")
    crops = informative_crops(luma(image), image.max(axis=2) < _SATURATED)
    plane, known = crops[0]
    size = min(size, (min(plane.shape) // 3) // 2 * 2 - 1)
    if min(plane.shape) < _LEAST or float(np.ptp(plane)) < _CONTRAST or not known.any():
        return Shake(delta(), 0.0)
    asked = [
        (plane, known, _WEIGHTS[0]),
        (*crops[1], _WEIGHTS[0]) if len(crops) > 1 else (plane, known, _WEIGHTS[1]),
    ]
    found = spread(lambda one: _estimate(one[0], one[1], size, one[2]), asked)
    kernel, other = (_centred(one) for one in found)
    agreed = agreement(kernel, other)
    if len(crops) == 1:
        sure = _ramp(agreed, *_AGREEMENT)
        if explains_worse(plane, kernel, other) > 0:
            kernel = other
    else:
        sure = max(_ramp(agreed, *_TOGETHER), _ramp(explains_worse(crops[1][0], kernel, other), *_BETTER))
    sure = min(sure, _ramp(excess(plane, kernel) - _EXCESS_OF_NOISE * noise_level(image), *_EXCESS))
    if len(kernel) <= _NARROW:
        sure = min(sure, _ramp(explains_worse(plane, delta(), kernel), *_NEEDED))
    return Shake(kernel, sure)


def shake_blur(image: Image) -> Blur:
    """Camera shake as a blur: kind "shake" with its kernel, or "none" where nothing was found.

    Its noise is what a deconvolution should reckon with. Raises ImageError for what is no image.
    """
    kernel, confidence = shake_kernel(image)
    if len(kernel) == 1:
        return Blur("none", confidence=confidence, noise=noise_level(image))
    noise = noise_level(image, kernel)
    return Blur(
        "shake", {"size": len(kernel)}, kernel, confidence=confidence, noise=max(noise, _KERNEL_NOISE)
    )


def informative_crops(plane: Plane, known: Known) -> list[tuple[Plane, Known]]:
    """The crop with the most edges among pixels that are known, and, where there is one, a second apart from it.

    Shape: (H, W) in, at most `CROP` pixels out.
    """
    height, width = plane.shape
    least = min(height, width, math.isqrt(CROP))
    most = CROP // least
    rows, columns = (least, min(width, most)) if height <= width else (min(height, most), least)
    if (rows, columns) == plane.shape:
        return [(plane, known)]
    steps = np.hypot(*np.gradient(ndimage.gaussian_filter(plane, 1.0)))
    # The contrast of one strong edge must not outweigh that of many: the kernel needs all directions.
    edges = np.where(ndimage.binary_erosion(known, iterations=2, border_value=1), np.minimum(steps, 0.1), 0)
    sums = np.pad(edges.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    tops, lefts = (
        np.unique(np.r_[0 : n - m : 16, n - m]) for n, m in zip(plane.shape, (rows, columns), strict=True)
    )
    tops = tops[:, None]
    held = (
        sums[tops + rows, lefts + columns]
        - sums[tops, lefts + columns]
        - sums[tops + rows, lefts]
        + sums[tops, lefts]
    )
    crops: list[tuple[Plane, Known]] = []
    least = _EDGES * held.max()
    while len(crops) < 2 and (not crops or held.max() > least):
        row, column = np.unravel_index(int(held.argmax()), held.shape)
        top, left = tops[row, 0], lefts[column]
        window = (slice(top, top + rows), slice(left, left + columns))
        crops.append((plane[window], known[window]))
        held = np.where((np.abs(tops - top) >= rows) | (np.abs(lefts - left) >= columns), held, 0)
    return crops


def agreement(one: Kernel, other: Kernel) -> float:
    """The largest correlation of two kernels over all whole shifts, 0..1."""
    side = scipy.fft.next_fast_len(len(one) + len(other), real=True)
    spectra = [scipy.fft.rfft2(kernel.astype(np.float64), (side, side)) for kernel in (one, other)]
    inner = scipy.fft.irfft2(spectra[0] * spectra[1].conj(), (side, side)).max()
    return float(np.clip(inner / np.sqrt(np.square(one).sum() * np.square(other).sum()), 0, 1))


def explains_worse(plane: Plane, kernel: Kernel, other: Kernel) -> float:
    """How much worse than another a kernel explains the spectrum of a plane: log deviance, 0 where that is untold.

    Shape: (H, W).
    """
    fine = periodogram(np.ascontiguousarray(plane)[:, :, None])
    if fine is None:
        return 0.0
    one, two = (explain(fine, each) for each in (kernel, other))
    return math.log(one.deviance / two.deviance) if one and two else 0.0


def excess(plane: Plane, kernel: Kernel) -> float:
    """How much more the gradients gain in energy when `kernel` is taken out than they should, nepers.

    A scene of power f**-2 that `kernel` has blurred gains as much as it should, 0; natural scenes are a little
    smoother. Where the kernel is wrong, the inverse filter amplifies what was never weakened. Shape: (H, W).
    """
    margin = len(kernel) // 2
    canvas = _Canvas(plane, np.ones(plane.shape, bool), len(kernel) + margin)
    restored, inverse, transfer = canvas.inverse(kernel, _INVERSE)
    inside = tuple(slice(margin, n - margin) for n in plane.shape)
    energy = [
        sum(float(np.square(step).mean()) for step in np.gradient(z[inside])) for z in (restored, plane)
    ]
    down, right = scipy.fft.fftfreq(canvas.grid[0])[:, None], scipy.fft.rfftfreq(canvas.grid[1])
    expected = canvas.power / np.maximum(down**2 + right**2, _TINY) * np.square(np.abs(transfer))
    gain = (expected * np.square(np.abs(inverse))).sum() / expected.sum()
    return math.log((energy[0] + _TINY) / (energy[1] + _TINY) / float(gain))


def turned(image: Image, kernel: Kernel) -> float:
    """How surely a kernel is not turned by half a turn, which the power spectrum cannot tell: 0 for not at all.

    The inverse filters of both leave gradients of the same power spectrum, but those of the right one are sparser:
    the logarithm of how much, for each unit by which the two kernels differ. Kernels whose phase is wrong, which most
    losses come from, have up to 0.033, others 0.04 to 0.45; infinite for one that is its own mirror image.
    Shape: (H, W, C), (k, k).
    """
    mirrored = np.ascontiguousarray(kernel[::-1, ::-1])
    differ = 1 - agreement(kernel, mirrored)
    if differ < _LOPSIDED:
        return math.inf
    plane = informative_crops(luma(image), image.max(axis=2) < _SATURATED)[0][0]
    margin = len(kernel) // 2
    canvas = _Canvas(plane, np.ones(plane.shape, bool), len(kernel) + margin)
    inside = tuple(slice(2 * margin, n - 2 * margin) for n in plane.shape)

    def density(one: Kernel) -> float:
        steps = np.hypot(*np.gradient(canvas.inverse(one, _INVERSE_OF_TURNED)[0][inside]))
        return float((steps**_POWER).mean()) / (float(np.square(steps).mean()) + _TINY) ** (_POWER / 2)

    right, wrong = density(kernel), density(mirrored)
    return math.log((wrong + _TINY) / (right + _TINY)) / differ


def _ramp(value: float, low: float, high: float) -> float:
    """0 at `low`, 1 at `high`, straight between and level beyond."""
    return float(np.clip((value - low) / (high - low), 0, 1))


def _estimate(plane: Plane, known: Known, size: int, weights: tuple[float, float]) -> Field:
    """The kernel under weights of the gradients and of its norm. Shape: (H, W) in, (size, size) out."""
    scales = max(0, math.floor(math.log(_SMALLEST / size) / math.log(_SHRINK)))
    kernel: Field | None = None
    weight, ridge = weights
    for scale in range(scales, -1, -1):
        factor = _SHRINK**scale
        side = math.ceil(size * factor) // 2 * 2 + 1
        if kernel is None:
            kernel = np.zeros((side, side))
            kernel[side // 2, side // 2 - 1 : side // 2 + 1] = 0.5
        else:
            kernel = _resized(kernel, side)
        seen = _smaller(plane, factor)
        shown = (
            np.ones(seen.shape, bool) if known.all() else _smaller(known.astype(np.float32), factor) > _KNOWN
        )
        canvas = _Canvas(seen, shown, side)
        for _ in range(_TURNS if scale else _LAST_TURNS):
            gradients = canvas.sharpen(kernel, weight)
            kernel = _without_specks(canvas.solve_kernel(gradients, side, ridge))
            weight = max(weight * _DECAY, _LEAST_GRADIENTS)
        kernel = _moved_to_centre(kernel)
    assert kernel is not None
    return kernel


class _Canvas:
    """A blurred plane on a periodic grid. shown: where it is data; elsewhere it is filled in. Shape: (H, W)."""

    def __init__(self, plane: Plane, shown: Known, side: int) -> None:
        margins = [scipy.fft.next_fast_len(n + side + 8, real=True) - n for n in plane.shape]
        self.filled = plane
        for axis, margin in enumerate(margins):
            self.filled = _continued(self.filled, axis, margin)
        self.plane = self.filled
        self.shown = np.pad(shown, [(0, margin) for margin in margins])
        self.grid: tuple[int, int] = self.filled.shape
        down, right = (
            2 * np.pi * f for f in (scipy.fft.fftfreq(self.grid[0]), scipy.fft.rfftfreq(self.grid[1]))
        )
        self.down = (np.exp(1j * down) - 1)[:, None].astype(np.complex64)
        self.right = (np.exp(1j * right) - 1)[None].astype(np.complex64)
        self.power = np.square(np.abs(self.down)) + np.square(np.abs(self.right))

    def inverse(self, kernel: Kernel, weight: float) -> tuple[Plane, Spectrum, Spectrum]:
        """What an inverse filter with a weight of the gradients makes of the plane; the filter, and what it inverts."""
        transfer = otf(kernel, self.grid)
        inverse = transfer.conj() / (np.square(np.abs(transfer)) + np.float32(weight) * self.power + _TINY)
        return scipy.fft.irfft2(inverse * scipy.fft.rfft2(self.filled), self.grid), inverse, transfer

    def sharpen(self, kernel: Field, weight: float) -> tuple[Plane, Plane]:
        """The gradients, rightward and downward, of the plane that `kernel` blurred: as few as can be."""
        transfer = otf(kernel.astype(np.float32), self.grid)
        passed = np.square(np.abs(transfer))
        data = transfer.conj() * scipy.fft.rfft2(self.filled)
        latent = self.filled
        penalty, step = 2 * weight, 0
        while True:
            right = np.roll(latent, -1, 1) - latent
            down = np.roll(latent, -1, 0) - latent
            keep = right * right + down * down >= weight / penalty
            right *= keep
            down *= keep
            if penalty >= _PENALTY / 2:
                return right, down
            pulled = np.roll(right, 1, 1) - right
            pulled += np.roll(down, 1, 0) - down
            spectrum = scipy.fft.rfft2(pulled)
            spectrum *= np.float32(penalty)
            spectrum += data
            spectrum /= passed + np.float32(penalty) * self.power
            if step in _FILLED:
                blurred = scipy.fft.irfft2(spectrum * transfer, self.grid)
                self.filled = np.where(self.shown, self.plane, blurred)
                data = transfer.conj() * scipy.fft.rfft2(self.filled)
            latent = scipy.fft.irfft2(spectrum, self.grid)
            penalty *= 2
            step += 1

    def solve_kernel(self, gradients: tuple[Plane, Plane], side: int, ridge: float) -> Field:
        """The least-squares kernel from gradients to those of the plane, none of it negative. Shape: (side, side)."""
        right, down = (scipy.fft.rfft2(gradient) for gradient in gradients)
        energy = np.square(np.abs(right)) + np.square(np.abs(down))
        cross = (right.conj() * self.right + down.conj() * self.down) * scipy.fft.rfft2(self.filled)
        wanted = self._lags(cross, side // 2)
        # Products with the normal matrix are convolutions with the autocorrelation, on a grid of the kernel's size.
        grid = (scipy.fft.next_fast_len(3 * side, real=True),) * 2
        margin = grid[0] - 2 * side + 1
        lags = np.roll(np.pad(self._lags(energy, side - 1), (0, margin)), (1 - side, 1 - side), (0, 1))
        normal = scipy.fft.rfft2(lags)

        def product(kernel: Field) -> Field:
            blurred = scipy.fft.irfft2(normal * scipy.fft.rfft2(kernel, grid), grid)
            return np.asarray(blurred[:side, :side] + ridge * kernel)

        def conjugate_gradients(kernel: Field, free: Any) -> Field:
            residual = (wanted - product(kernel)) * free
            direction, squared = residual, float(np.square(residual).sum())
            for _ in range(_CG_STEPS):
                if squared <= _CG_SMALL * float(np.square(wanted).sum()):
                    break
                image = product(direction) * free
                length = squared / float((direction * image).sum())
                kernel = kernel + length * direction
                residual = residual - length * image
                before, squared = squared, float(np.square(residual).sum())
                direction = residual + (squared / before) * direction
            return kernel

        kernel = conjugate_gradients(np.zeros((side, side)), 1.0)
        free = kernel > 0.5 * _FAINT * kernel.max()
        return np.maximum(conjugate_gradients(np.where(free, kernel, 0), free), 0)

    def _lags(self, spectrum: NDArray[np.complexfloating[Any, Any]], reach: int) -> Field:
        """What a spectrum says at shifts of up to `reach`. Shape: (2 reach + 1, 2 reach + 1)."""
        around = scipy.fft.irfft2(spectrum, self.grid)
        index = np.arange(-reach, reach + 1)
        return around[np.ix_(index, index)].astype(np.float64)


def _continued(plane: Plane, axis: int, margin: int) -> Plane:
    """A plane that goes on after its end, smoothly, to its start. Shape: longer by `margin` along `axis`."""
    length = plane.shape[axis]
    ramp = np.clip(2 * (np.arange(margin) + 0.5) / margin - 0.5, 0, 1)
    fade = (0.5 - 0.5 * np.cos(np.pi * ramp)).astype(np.float32)
    fade = fade[:, None] if axis == 0 else fade
    step = np.arange(margin)
    after = np.take(plane, np.maximum(length - 2 - step, 0), axis=axis)
    before = np.take(plane, np.minimum(margin - step, length - 1), axis=axis)
    return np.concatenate([plane, after + fade * (before - after)], axis=axis)


def _smaller(plane: Plane, factor: float) -> Plane:
    if factor == 1:
        return plane
    smooth = ndimage.gaussian_filter(plane, 0.5 * math.sqrt(factor**-2 - 1), mode="mirror")
    sides = [max(8, round(n * factor)) for n in plane.shape]
    at = np.meshgrid(*((np.arange(n) + 0.5) / factor - 0.5 for n in sides), indexing="ij")
    return np.asarray(ndimage.map_coordinates(smooth, at, order=1, mode="mirror"), np.float32)


def _resized(kernel: Field, side: int) -> Field:
    """The kernel on the next finer scale. Shape: (side, side)."""
    at = (np.arange(side) - side // 2) * _SHRINK + len(kernel) // 2
    finer = np.maximum(ndimage.map_coordinates(kernel, np.meshgrid(at, at, indexing="ij"), order=1), 0)
    return np.asarray(finer / finer.sum())


def _without_specks(kernel: Field) -> Field:
    """Only what is significant and hangs together. Shape: kept; `delta` where nothing is."""
    if not kernel.max() > 0:
        kernel = np.zeros_like(kernel)
        kernel[len(kernel) // 2, len(kernel) // 2] = 1
    kernel = np.where(kernel < _FAINT * kernel.max(), 0, kernel)
    piece, count = ndimage.label(kernel, np.ones((3, 3)))
    share = np.append(0, ndimage.sum(kernel, piece, np.arange(1, count + 1))) / kernel.sum()
    if (share[1:] >= _SPECK).any():
        kernel = np.where(share[piece] >= _SPECK, kernel, 0)
    return np.asarray(kernel / kernel.sum())


def _off_centre(kernel: Field) -> Field:
    """How far the centroid lies below and to the right of the centre, pixels. Shape: (2,)."""
    return np.array(ndimage.center_of_mass(kernel)) - len(kernel) // 2


def _moved_to_centre(kernel: Field) -> Field:
    """By whole pixels; what leaves the support is lost. Shape: kept."""
    moved = ndimage.shift(kernel, -np.rint(_off_centre(kernel)), order=0)
    return np.asarray(moved / moved.sum())


def _centred(kernel: Field) -> Kernel:
    """The kernel with its centroid at the centre, to a fraction of a pixel, on as few pixels as hold it."""
    moved = ndimage.shift(np.pad(kernel, 2), -_off_centre(kernel), order=3)
    moved = np.where(moved < _RINGING * moved.max(), 0, moved)
    middle = len(moved) // 2
    reach = int(np.abs(np.argwhere(moved) - middle).max())
    inside = slice(middle - reach, middle + reach + 1)
    return check_kernel(moved[inside, inside])
