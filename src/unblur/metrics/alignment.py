"""Scores up to a shift: a kernel is only known up to where its centre is, and so is what it restores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unblur.errors import ImageError, OptionError
from unblur.image import Image, check_image
from unblur.metrics.psnr import psnr
from unblur.metrics.ssim import ssim

#: Samples of all shifted copies that are held at a time.
_HELD = 1 << 23


class AlignedScore(NamedTuple):
    """psnr in dB; ssim; shift (down, right) in pixels: image at p + shift is compared with reference at p."""

    psnr: float
    ssim: float
    shift: tuple[float, float]


def score_up_to_shift(
    reference: Image, image: Image, *, crop: int = 15, reach: int = 5, step: float = 0.25
) -> AlignedScore:
    """PSNR and SSIM ("tf") at the shift of `image` that brings it nearest to `reference`.

    Shape: (H, W, C) both, equal; values in [0, 1], neither clipped nor rounded. The reference loses `crop`
    pixels on each side; every shift of up to `reach` pixels each way, in steps of `step`, is tried, with
    bilinear interpolation. Both scores are those of 0..255 data.
    Raises ImageError for shapes that differ or are too small, OptionError for a reach beyond the crop or a step
    that does not divide a pixel. Source: Levin, Weiss, Durand and Freeman, "Understanding and evaluating blind
    deconvolution algorithms" (2009), the search of their comp_upto_shift.
    """
    reference, image = check_image(reference, "reference"), check_image(image)
    if image.shape != reference.shape:
        raise ImageError(f"expected equal shapes, got {reference.shape} and {image.shape}")
    if not 0 <= reach <= crop:
        raise OptionError(f"reach: expected 0 to the crop of {crop} pixels, got {reach}")
    if not 0 < step <= 1 or abs(1 / step - round(1 / step)) > 1e-9:
        raise OptionError(f"step: expected a whole fraction of a pixel, got {step}")
    height, width = image.shape[0] - 2 * crop, image.shape[1] - 2 * crop
    if min(height, width) < 11:
        raise ImageError(
            f"an image of {image.shape[:2]} is too small for a crop of {crop} and an 11x11 window"
        )
    inner = reference[crop : crop + height, crop : crop + width].astype(np.float64)
    around = image[crop - reach : crop + reach + height, crop - reach : crop + reach + width].astype(
        np.float64
    )
    shifts = np.arange(round(2 * reach / step) + 1) * step
    weights = np.maximum(1 - np.abs(shifts[:, None] - np.arange(2 * reach + 1)), 0)  # (shifts, whole pixels)
    down, right = np.unravel_index(np.argmin(_errors(inner, around, weights)), (shifts.size, shifts.size))
    moved = np.zeros_like(inner)
    for row in np.flatnonzero(weights[down]):
        for column in np.flatnonzero(weights[right]):
            weight = weights[down, row] * weights[right, column]
            moved += weight * around[row : row + height, column : column + width]
    return AlignedScore(
        psnr(inner, moved, data_range=1),
        ssim(inner, moved, data_range=1),
        (float(shifts[down]) - reach, float(shifts[right]) - reach),
    )


def _errors(
    inner: NDArray[np.float64], around: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of squared errors of every shift, less that of the reference. Shape: (shifts ** 2,).

    A bilinear shift is a mean of whole shifts, so all errors follow from the inner products of those.
    """
    whole = weights.shape[1]
    gram, cross = np.zeros((whole**2, whole**2)), np.zeros(whole**2)
    height, width = inner.shape[:2]
    rows = max(1, _HELD // (whole**2 * width * inner.shape[2]))
    for top in range(0, height, rows):
        part = inner[top : top + rows]
        copies = np.stack(
            [
                around[top + row : top + row + len(part), column : column + width].ravel()
                for row in range(whole)
                for column in range(whole)
            ]
        )
        gram += copies @ copies.T
        cross += copies @ part.ravel()
    mixed = np.kron(weights, weights)
    errors: NDArray[np.float64] = np.einsum("sa,sa->s", mixed @ gram, mixed) - 2 * (mixed @ cross)
    return errors
